from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from medbench.harness.errors import UsageError
from medbench.harness.training import parallel
from medbench.harness.training.checkpoint import load_latest
from medbench.harness.training.loop import Trainer
from medbench.harness.training.presets import presets
from medbench.harness.training.settings import OptimiserSettings, TrainingSettings

SETTINGS = TrainingSettings(
    steps=20,
    optimiser=OptimiserSettings(1e-2, warmup_steps=2, gradient_clip=1.0),
    opponent=OptimiserSettings(1e-3, gradient_clip=1.0),
    batches_per_step=2,
    ema_decay=0.9,
    log_every=1,
    validate_every=10,
)
TOY = {"dropout": 0.0, "contest": True, "contrast": True}

# What each of two processes does: train; then train with one process asked to end; then with a
# NaN in one process's share.
_PROCESS = """
import json, runpy, sys
from pathlib import Path
from medbench.harness.errors import MedbenchError
from medbench.harness.training import journal, parallel
from medbench.harness.training.loop import Trainer
from safetensors.torch import save_file
journal.draw_curve = lambda *_, **__: b""
tests = runpy.run_path(sys.argv[1])
toy = runpy.run_path(str(Path(sys.argv[1]).with_name("conftest.py")))["ToyRecipe"]
place = Path(sys.argv[2])
parallel.join()
rank = parallel.rank()
recipe = toy(**tests["TOY"])
weights = Trainer(recipe, tests["SETTINGS"], place / "together", config={}).run()
opponent = {f"opponent.{k}": v for k, v in recipe.opponent.state_dict().items()}
save_file({**weights, **opponent}, place / f"rank{rank}.safetensors")
ends = {}
for fault in ("terminate", "nan", "unreadable"):
    recipe = toy(**tests["TOY"], fault=fault, at=3 if rank == 1 else -1)
    try:
        Trainer(recipe, tests["SETTINGS"], place / fault, config={}).run()
    except MedbenchError as error:
        ends[fault] = f"{type(error).__name__}: {error}"
(place / f"ends{rank}.json").write_text(json.dumps(ends))
"""


# `medbench train`, which also notes how many codes each revival moved.
_TRAIN = """
import json, sys
from pathlib import Path
from medbench.__main__ import invoke
from medbench.harness.training import journal, parallel
from medbench.harness.training.codebooks import CodebookKeeper
journal.draw_curve = lambda *_, **__: b""
moved, revive = [], CodebookKeeper.revive
def noting(keeper, generator):
    revive(keeper, generator)
    moved.append(sum(int(each.sum()) for each in keeper.untried))
CodebookKeeper.revive = noting
place = sys.argv.pop()
invoke(["train", "smoke.yaml", "--output", place, "--device", "cpu"])
if parallel.rank() == 0:
    Path(place, "moved.json").write_text(json.dumps(moved))
"""
# Slow enough that sums in another order flip no nearest code, which would part the runs.
_SLOW = {"optimiser": {"learning_rate": 1e-4}}
SMOKE = {
    "extends": str(presets()["smoke"].config),
    "model": {"vocab_size": 64, "drop_path": 0.3, "variant": {"depth": 2}},
    "settings": {**_SLOW, "log_every": 1, "validate_every": 0},
    "validation": None,
    "stages": {"teacher": {"settings": _SLOW}, "stage2": None},
}


_OF_GRADIENTS = {"gradient_norm", "opponent_gradient_norm", "adversarial_weight"}
"""No losses: small differences of large numbers among them."""


@pytest.mark.slow
def test_two_processes_train_the_first_stage_as_one_does_through_kmeans_and_a_revival(
    tmp_path,
) -> None:
    (tmp_path / "smoke.yaml").write_text(yaml.safe_dump(SMOKE))
    (tmp_path / "train.py").write_text(_TRAIN)
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for place, launch in (("one", []), ("two", two)):
        command = [sys.executable, *launch, "train.py", place]
        subprocess.run(command, check=True, timeout=600, cwd=tmp_path)
    moved = [json.loads((tmp_path / place / "moved.json").read_text()) for place in ("one", "two")]
    assert moved[0] == moved[1]
    assert sum(moved[0]) > 0
    lines, both = (curve(tmp_path / place / "stage1") for place in ("one", "two"))
    assert len(lines) == 20
    assert {"vq", "alignment", "adversarial", "discriminator"} <= lines[-1].keys()
    for line, other in zip(lines, both, strict=True):
        assert other.keys() == line.keys()
        for name in line.keys() & _OF_GRADIENTS:
            assert other.pop(name) == pytest.approx(line.pop(name), rel=1e-2)
        assert other == pytest.approx(line, rel=1e-5, abs=1e-5)


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """The folder in which two processes have done `_PROCESS`."""
    place = tmp_path_factory.mktemp("two")
    script = place / "process.py"
    script.write_text(_PROCESS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*launch, str(script), __file__, str(place)], check=True, timeout=180)
    return place


def curve(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "per_second" not in k} for line in lines]


@pytest.mark.usefixtures("undrawn")
def test_two_processes_train_as_one_does_with_the_same_batches(
    tmp_path, toy_recipe, together
) -> None:
    recipe = toy_recipe(**TOY)
    weights = Trainer(recipe, SETTINGS, tmp_path, config={}).run()
    lines, both = curve(tmp_path), curve(together / "together")
    assert len(both) == len(lines) == 20
    for line, other in zip(lines, both, strict=True):
        assert line.keys() == other.keys()
        assert {"error", "contest", "contrast", "opponent"} <= line.keys()
        assert other == pytest.approx(line, rel=1e-5, abs=1e-5)
    opponent = {f"opponent.{k}": v for k, v in recipe.opponent.state_dict().items()}
    ranks = [load_file(together / f"rank{rank}.safetensors") for rank in range(2)]
    for name, value in {**weights, **opponent}.items():
        assert torch.equal(ranks[0][name], ranks[1][name])
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fault", "message", "kept"),
    [
        ("terminate", "Interrupted: stopped after step 4", 4),
        ("nan", "NonFiniteLoss: error is", 3),
        ("unreadable", "NoBatch: ", 3),
    ],
)
def test_what_befalls_one_process_ends_all_of_them_after_the_same_step(
    together, fault, message, kept
) -> None:
    for rank in range(2):
        assert json.loads((together / f"ends{rank}.json").read_text())[fault].startswith(message)
    latest = load_latest(together / fault / "checkpoints")
    assert latest is not None
    assert latest.step == kept


def test_one_process_has_all_rows() -> None:
    x = torch.ones(3, 2, requires_grad=True)
    assert parallel.gather_rows(x) is x
    assert parallel.own_rows(7) == slice(0, 7)


def test_rows_that_processes_cannot_share_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(parallel, "world_size", lambda: 3)
    monkeypatch.setattr(parallel, "rank", lambda: 2)
    assert parallel.own_rows(6) == slice(4, 6)
    with pytest.raises(UsageError, match="cannot be shared"):
        parallel.own_rows(8)
