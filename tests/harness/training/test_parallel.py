from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medbench.harness.errors import UsageError
from medbench.harness.training import loop
from medbench.harness.training.loop import Trainer
from medbench.harness.training.settings import TrainingSettings

SETTINGS = TrainingSettings(
    steps=20, learning_rate=1e-2, warmup_steps=2, batches_per_step=2, gradient_clip=1.0
)
SCRIPT = """
import runpy, sys
from pathlib import Path
import torch
from medbench.harness.training import parallel
from medbench.harness.training.loop import Trainer
from medbench.harness.training.settings import TrainingSettings
from safetensors.torch import save_file
recipe = runpy.run_path(sys.argv[1])["ToyRecipe"]()
parallel.join()
settings = eval(sys.argv[2])
weights = Trainer(recipe, settings, Path(sys.argv[3]), config={}).run()
save_file(weights, f"{sys.argv[3]}/rank{parallel.rank()}.safetensors")
"""


def test_two_processes_train_as_one_does_with_the_same_batches(tmp_path, toy_recipe) -> None:
    alone = Trainer(toy_recipe(), SETTINGS, tmp_path / "alone", config={}).run()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    conftest = str(Path(__file__).with_name("conftest.py"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*launch, str(script), conftest, repr(SETTINGS), str(tmp_path)], check=True, timeout=120
    )
    for rank in range(2):
        together = load_file(tmp_path / f"rank{rank}.safetensors")
        for name, value in alone.items():
            torch.testing.assert_close(together[name], value, rtol=1e-5, atol=1e-7)


def test_batches_that_processes_cannot_share_are_refused(tmp_path, toy_recipe, monkeypatch) -> None:
    monkeypatch.setattr(loop.parallel, "world_size", lambda: 3)
    with pytest.raises(UsageError, match="cannot be shared"):
        Trainer(toy_recipe(), SETTINGS, tmp_path, config={})
