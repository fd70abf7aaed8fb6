"""What can be trained of this folder, without importing any training code."""

from __future__ import annotations

from pathlib import Path

from ..harness.training.presets import Preset

_FOLDER = Path(__file__).parent / "recipes"

RECIPES: dict[str, str] = {"meditok": "medbench.tokenizers.meditok_recipe"}


def presets() -> dict[str, Preset]:
    """MedITok's presets; rows of the paper's ablations are changes of `paper`."""
    found = {
        name: Preset(_FOLDER / f"meditok_{name}.yaml", summary)
        for name, summary in {
            "paper": "MedITok as its paper trains it",
            "script": "MedITok as its published scripts train it",
            "small": "MedITok on one GPU in a day",
            "tiny": "MedITok, teacher and both stages, in less than an hour of one CPU core",
            "micro": "MedITok at 64 px, teacher and both stages, in minutes",
            "claims": "the arms of the paper's claims in miniature, on the ground of `micro`",
            "smoke": "every part of the trainer in less than a minute",
        }.items()
    }
    rows = found["paper"].rows(_FOLDER / "ablations.yaml")
    return found | {f"paper/{row}": preset for row, preset in rows.items()}
