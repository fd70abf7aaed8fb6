"""What can be trained of this folder, without importing any training code."""

from __future__ import annotations

from pathlib import Path

from ..harness.training.presets import Preset

_FOLDER = Path(__file__).parent / "recipes"

RECIPES: dict[str, str] = {
    "vqgan": "medbench.baselines.recipe_vqgan",
    "emu3-vq": "medbench.baselines.recipe_emu3",
    "tokenflow": "medbench.baselines.recipe_tokenflow",
    "unitok": "medbench.baselines.recipe_unitok",
    "pumit": "medbench.baselines.recipe_pumit",
    "medvae": "medbench.baselines.recipe_medvae",
}


def presets() -> dict[str, Preset]:
    """Small networks under the budget that all designs share."""
    return {
        f"{name}-tiny": Preset(
            _FOLDER / f"{name.replace('-', '_')}_tiny.yaml",
            f"{summary} on the controlled track: common data, steps and batch",
        )
        for name, summary in {
            "vqgan": "VQGAN",
            "emu3-vq": "Emu3's tokenizer",
            "tokenflow": "TokenFlow",
            "unitok": "UniTok",
            "pumit": "PUMIT",
            "medvae": "MedVAE",
        }.items()
    }
