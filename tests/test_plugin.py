"""A third-party package, installed for real, takes part through its entry points."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin"
    # A copy, because building writes beside the sources.
    subprocess.run(["cp", "-r", str(PLUGIN), str(source)], check=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--target", str(target), str(source)]
    subprocess.run(command, check=True)
    return target


def medbench(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "medbench", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_list_shows_the_package_as_the_origin(site, tmp_path):
    found = json.loads(medbench(site, "list", "--json", cwd=tmp_path).stdout)
    origins = {e["name"]: e["origin"] for kind in found.values() for e in kind}
    assert [origins[name] for name in ("posterise", "brightness", "stripes")] == [
        "medbench-example"
    ] * 3


def test_its_tokenizer_keeps_the_protocol(site, tmp_path):
    result = medbench(site, "validate", "posterise", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_its_task_runs_its_tokenizer_on_its_dataset(site, tmp_path):
    arguments = ("run", "--tokenizer", "posterise", "--task", "brightness", "--json")
    result = medbench(site, *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (record,) = json.loads(result.stdout)
    assert record["tokenizer"] == "posterise"
    assert record["dataset"]["id"] == "stripes"
    assert record["metrics"][0]["value"] > 20


def test_its_tokenizer_takes_part_in_the_built_in_task(site, tmp_path):
    arguments = ("run", "--tokenizer", "posterise", "--task", "recon", "--dataset", "stripes")
    result = medbench(site, *arguments, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (record,) = json.loads(result.stdout)
    values = {(m["name"], m["group"]): m["value"] for m in record["metrics"]}
    assert values["usage", "all"] == 1.0
    assert values["bits_per_image", "all"] == 1024
    assert record["status"] in {"ok", "suspect"}
