"""A run that is killed at any moment goes on and ends with the same bits."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.harness.record_files import load_record, record_files

KILLS = 10


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """140 small images of two modalities: three shards."""
    rng = np.random.default_rng(1)
    root = tmp_path_factory.mktemp("images")
    for group in ("ct", "fundus"):
        (root / group).mkdir()
        for index in range(70):
            coarse = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC)
            picture.save(root / group / f"{index:03d}.png")
    return root


def start(images, output):
    options = ["--tokenizer", "meditok", "--task", "recon", "--dataset", f"folder:{images}"]
    return subprocess.Popen(
        [sys.executable, "-m", "medbench", "run", *options, "--output", str(output)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_no_bit(images, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache-a"))
    begun = time.monotonic()
    finish(start(images, tmp_path / "whole"))
    duration = time.monotonic() - begun

    # A cache of its own, so that ingest and the originals' features are interrupted as well.
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache-b"))
    moments = random.Random(0)
    killed = 0
    while killed < KILLS:
        process = start(images, tmp_path / "killed")
        try:
            process.wait(timeout=moments.uniform(0.2, 0.7 * duration))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        for path in record_files(tmp_path / "killed"):
            load_record(path)
        if process.returncode == 0:
            # It got through: begin again, so that ten kills really happen.
            shutil.rmtree(tmp_path / "killed")
            shutil.rmtree(tmp_path / "cache-b")
        else:
            assert process.returncode == -signal.SIGKILL

    finish(start(images, tmp_path / "killed"))

    whole, resumed = (
        load_record(next(record_files(tmp_path / name))) for name in ("whole", "killed")
    )
    assert resumed.metrics == whole.metrics
    tables = [pd.read_parquet(next((tmp_path / n).rglob("*.parquet"))) for n in ("whole", "killed")]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    leftovers = [p for p in (tmp_path / "killed" / ".work").rglob("*") if p.is_file()]
    assert leftovers == []
