"""The files of a saved model and how it is asked; without torch, so that records can be named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...harness.documents import load_json
from ...harness.errors import UsageError

FACTS = "vqa.json"
_KINDS = frozenset({".json", ".safetensors", ".bin", ".model"})


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """How a model is asked.

    Attributes:
        template: name of the prompt.
        side: of the grid to which image tokens are averaged; 0 leaves them.
        new_tokens: longest answer.
        tokenizer: whose features it was trained on; empty where unknown.
        prompts: questions per batch.
        verified: whether the folder is of medbench's own making.
        recipe: the preset and the parts that it was trained by; empty where unknown.
    """

    template: str
    side: int
    new_tokens: int
    tokenizer: str
    prompts: int = 16
    verified: bool = True
    recipe: Mapping[str, Any] = field(default_factory=dict)


_OF_LLAVA = ModelFacts("vicuna_v1", side=0, new_tokens=1024, tokenizer="", verified=False)


def model_files(folder: Path) -> list[Path]:
    """In alphabetical order.

    Raises:
        UsageError: the folder holds no model.
    """
    if not (folder / "config.json").is_file():
        message = (
            f"--model {folder}: no config.json there. A folder is expected that `medbench run "
            "--task vqa` made, or one in LLaVA's layout."
        )
        raise UsageError(message)
    return sorted(path for path in folder.iterdir() if path.suffix in _KINDS)


def load_facts(folder: Path) -> ModelFacts:
    """How the model of a folder is asked.

    Raises:
        UsageError: the folder holds no model, or `vqa.json` cannot be read.
    """
    model_files(folder)
    path = folder / FACTS
    if not path.is_file():
        return _OF_LLAVA
    try:
        return ModelFacts(**load_json(path))
    except (OSError, ValueError, TypeError) as error:
        message = f"{path} cannot be read ({error})"
        raise UsageError(message) from error
