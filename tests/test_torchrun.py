"""`torchrun -m medbench run`: any number of processes gives the record of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

RELATIVE = 1e-6


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """200 small images of two modalities: four shards."""
    rng = np.random.default_rng(1)
    root = tmp_path_factory.mktemp("images")
    for group in ("ct", "fundus"):
        (root / group).mkdir()
        for index in range(100):
            coarse = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((256, 256), Image.Resampling.BICUBIC)
            picture.save(root / group / f"{index:03d}.png")
    return root


def _command(processes: int, images: Path, output: Path) -> list[str]:
    words = ["run", "--tokenizer", "meditok", "--task", "recon", "--dataset", f"folder:{images}"]
    words += ["--output", str(output), "--batch-size", "8"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += [f"--nproc-per-node={processes}", "-m", "medbench"]
    return [*launcher, *words] if processes > 1 else [sys.executable, "-m", "medbench", *words]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def _record(output: Path) -> dict:
    (path,) = output.glob("recon/*/*/*.json")
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory) -> dict:
    output = tmp_path_factory.mktemp("alone")
    done = subprocess.run(
        _command(1, images, output), env=_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {**_record(output), "rows": _rows(output)}


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_any_number_of_processes_gives_the_record_of_one(processes, images, alone, tmp_path):
    done = _run(_command(processes, images, tmp_path))
    ours = _record(tmp_path)
    assert ours["identity"] == alone["identity"]
    assert ours["dataset"]["n"] == alone["dataset"]["n"] == 200
    assert [m["n"] for m in ours["metrics"]] == [m["n"] for m in alone["metrics"]]
    for found, expected in zip(ours["metrics"], alone["metrics"], strict=True):
        assert (found["name"], found["group"]) == (expected["name"], expected["group"])
        numbers = {f: expected[f] for f in ("value", "low", "high") if expected[f] is not None}
        assert {f: found[f] for f in numbers} == pytest.approx(numbers, rel=RELATIVE)
    assert done.stdout.count("recon on folder:") == 1  # one process reports
    pd.testing.assert_frame_equal(_rows(tmp_path), alone["rows"], rtol=RELATIVE)


@pytest.mark.slow
def test_a_lost_process_ends_the_run_clearly_and_the_same_command_goes_on(images, alone, tmp_path):
    log = tmp_path / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            _command(2, images, tmp_path / "out"), env=_environment(), stderr=file, stdout=file
        ) as launcher,
    ):
        end = time.monotonic() + 300
        while not list((tmp_path / "out").glob(".work/**/shard-*.npz")):
            assert time.monotonic() < end
            assert launcher.poll() is None, log.read_text()
            time.sleep(0.2)
        children = subprocess.run(
            ["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        os.kill(int(children[-1]), signal.SIGKILL)
        assert launcher.wait(120) != 0
    assert "another process of this run is lost" in log.read_text()
    assert "the same command goes on" in log.read_text()
    assert not list((tmp_path / "out").glob("recon/*/*/*.json"))
    done = subprocess.run(
        _command(2, images, tmp_path / "out"), env=_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = {(m["name"], m["group"]): m["value"] for m in _record(tmp_path / "out")["metrics"]}
    wanted = {(m["name"], m["group"]): m["value"] for m in alone["metrics"]}
    assert found.keys() == wanted.keys()
    for key in wanted.keys() - {k for k, v in wanted.items() if v is None}:
        assert found[key] == pytest.approx(wanted[key], rel=RELATIVE)


def _medsynth(task: str, output: Path, cache: Path, processes: int, *more: str) -> dict:
    """A record on the embedded data."""
    words = ["run", "--tokenizer", "meditok", "--task", task, "--dataset", "medsynth", *more]
    words += ["--output", str(output)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launcher += [f"--nproc-per-node={processes}"]
    command = [*(launcher if processes > 1 else [sys.executable]), "-m", "medbench", *words]
    environment = {**_environment(), "MEDBENCH_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = output.glob(f"{task}/*/*/*.json")
    return json.loads(path.read_text())


def _assert_equal(ours: dict, alone: dict) -> None:
    assert ours["identity"] == alone["identity"]
    for found, expected in zip(ours["metrics"], alone["metrics"], strict=True):
        for field in ("name", "group", "setting", "n"):
            assert found.get(field) == expected.get(field)
        numbers = {f: expected[f] for f in ("value", "low", "high") if expected[f] is not None}
        assert {f: found[f] for f in numbers} == pytest.approx(numbers, rel=RELATIVE)


@pytest.mark.slow
def test_probes_of_two_and_three_processes_are_those_of_one(tmp_path):
    alone = _medsynth("probe", tmp_path / "1", tmp_path / "cache-1", 1, "--limit", "12")
    for processes in (2, 3):  # with caches of their own, so that features are made anew
        output, cache = tmp_path / f"{processes}", tmp_path / f"cache-{processes}"
        _assert_equal(_medsynth("probe", output, cache, processes, "--limit", "12"), alone)
        pd.testing.assert_frame_equal(_rows(output), _rows(tmp_path / "1"), rtol=RELATIVE)


TRAINED = {
    "synthesis": ("--generator", "generators/*/weights.safetensors"),
    "vqa": ("--model", "vqa/tuning-*/model/vqa.json"),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", TRAINED)
def test_what_a_given_model_makes_does_not_depend_on_the_processes(task, tmp_path):
    option, pattern = TRAINED[task]
    more = ["--preset", "smoke", "--limit", "8"]
    _medsynth(task, tmp_path / "trained", tmp_path / "cache", 1, *more)
    (found,) = (tmp_path / "cache").glob(pattern)
    given = [*(more if task == "synthesis" else more[2:]), option, str(found.parent)]

    def made(processes: int) -> tuple[dict, pd.DataFrame]:
        # Each with a cache of its own (without the images), so that all is sampled and asked anew.
        cache, output = (tmp_path / f"{name}-{processes}" for name in ("cache", "out"))
        cache.mkdir()
        (cache / "images").symlink_to(tmp_path / "cache" / "images")
        record = _medsynth(task, output, cache, processes, *given)
        return record, _rows(output)

    alone, rows = made(1)
    for processes in (2, 3):
        ours, ours_by_row = made(processes)
        _assert_equal(ours, alone)
        pd.testing.assert_frame_equal(ours_by_row, rows, rtol=RELATIVE)


def _rows(output: Path) -> pd.DataFrame:
    (path,) = output.glob("*/*/*/*.parquet")
    return pd.read_parquet(path)


RANKS = """
import atexit, os
import torch.distributed
from medbench.harness import ranks
from medbench.harness.errors import UsageError

# A process that ends inside the group is aborted now and then by the group's own threads.
atexit.register(lambda: torch.distributed.is_initialized() and os._exit(3))
ranks.join()
whose = ranks.dealt(range(5), lambda item: (item, ranks.own()), label="items")
assert whose == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)], whose
assert ranks.dealt([], str, label="nothing") == []
assert ranks.first(lambda: ranks.own()) == 0

def fail(item):
    if item == 3:
        raise UsageError("item 3 is wrong")
    return item

works = [lambda: ranks.dealt(range(5), fail, label="items"), lambda: ranks.first(lambda: fail(3))]
for work in works:
    try:
        work()
    except UsageError as error:
        assert str(error) == "item 3 is wrong"
    else:
        raise AssertionError("no rank may go on")
"""


@pytest.mark.slow
def test_ranks_share_results_and_errors_and_leave_the_group_before_they_exit(tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    _run([*launcher, "--nproc-per-node=2", str(script)])


def test_without_torchrun_there_is_one_rank_and_no_torch():
    code = "import sys; from medbench.harness import ranks; ranks.join(); print(ranks.count(), "
    code += "ranks.own(), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0", "False"]
