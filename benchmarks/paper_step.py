"""One step of `medbench train paper` at full size with untrained teachers: does it fit, how long?

    python benchmarks/paper_step.py [--stage stage1|stage2] [--batch 1]

Everything has its published shape: the network (697 M parameters), BiomedCLIP, the DINOv2
discriminator with its heads, LPIPS on VGG-16. Weights that this machine may lack are random ones;
nothing is learnt. Prints seconds per step and the peak of memory.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import tempfile
import time
from pathlib import Path

import lpips
import torch

from medbench.harness.training.config_terms import read_fields
from medbench.harness.training.loop import Trainer
from medbench.harness.training.presets import find_preset, recipe_module
from medbench.harness.training.run_plan import read_stages
from medbench.harness.training.settings import TrainingSettings

_POOL = {"source": "medsynth", "count": 9, "seed": 0, "size": 256}
_AS_IT_IS = {
    "natural_scale": 1.0,
    "zoom": [1.0, 1.0],
    "blend": 0.0,
    "grey": 0.0,
    "duotone": 0.0,
    "shift": 0.0,
    "invert": 0.0,
    "gamma": 0.0,
    "contrast": 0.0,
    "turns": False,
}


def main() -> None:
    """Read the command line, take the step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=("stage1", "stage2"), default="stage1")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        trunk = Path(folder) / "lpips.pth"
        torch.save(lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).state_dict(), trunk)
        source = {
            "dataset": None,
            "caption": None,
            "kind": "pools",
            "pools": [_POOL],
            "shares": [1.0],
            "augmentation": _AS_IT_IS,
        }
        change = {
            "start": None,
            "settings": {"steps": asked.steps, "precision": asked.precision, "workers": 0},
            "data": {"source": source, "batch_size": asked.batch},
            "perceptual": {"weights": str(trunk)},
            "adversarial": {"discriminator": {"pretrained": False}},
            "alignment": {"teacher": {"weights": "untrained"}},
        }
        for optimiser in ("optimiser", "opponent"):
            change["settings"][optimiser] = {"warmup_steps": 0}
        change["adversarial"]["warmup_steps"] = 0
        stages = read_stages(find_preset("paper").config, {"stages": {asked.stage: change}})
        stage = next(each for each in stages if each.name == asked.stage)
        settings = read_fields(TrainingSettings, stage.config["settings"], "settings")
        began = time.monotonic()
        recipe = recipe_module("meditok").build(stage.config, settings, Path(folder) / "run")
        trainer = Trainer(recipe, settings, Path(folder) / "run", config=stage.config)
        built = time.monotonic() - began
        batches = recipe.batches(0)
        for _ in range(asked.steps):
            began, cpu = time.monotonic(), time.process_time()
            trainer._do_step(batches, _Silent())
            seconds, cpu = time.monotonic() - began, time.process_time() - cpu
            gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            sys.stdout.write(
                f"{asked.stage}, batch {asked.batch}, {asked.precision}, "
                f"{torch.get_num_threads()} threads: step {seconds:.1f} s ({cpu:.1f} CPU s), "
                f"built in {built:.1f} s, peak {gigabytes:.1f} GB\n"
            )
        for name, part in (("trained", recipe.model), ("discriminator", recipe.opponent)):
            count = sum(p.numel() for p in part.parameters() if p.requires_grad)
            sys.stdout.write(f"{name}: {count:,} parameters\n")


class _Silent:
    """Takes the place of the journal: nothing is written, and no checkpoint of 8 GB."""

    def add(self, step: int, readings: dict[str, float], *, images: int) -> None:
        """Show what the step found."""
        shown = "  ".join(f"{name} {value:.4g}" for name, value in readings.items())
        logging.info("step %d, %d images: %s", step, images, shown)


if __name__ == "__main__":
    main()
