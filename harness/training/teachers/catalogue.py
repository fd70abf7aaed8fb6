"""What can be trained of the teachers: a torch-free table."""

from __future__ import annotations

from pathlib import Path

from ..presets import Preset

RECIPES = {"miniature": "medbench.harness.training.teachers.recipe"}


def presets() -> dict[str, Preset]:
    """The teacher by itself; in most runs it is the first stage."""
    folder = Path(__file__).parent / "recipes"
    return {
        "teacher-micro": Preset(
            folder / "teacher_micro.yaml",
            "the teacher in miniature, 64 px, on medsynth's images and captions",
        )
    }
