"""Answers of a model to the questions of a cell, in shards that survive a kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...harness.shards import run_shards
from .answering import Prompt, answer
from .model import AnsweringModel
from .prompt import find_template

if TYPE_CHECKING:
    from ...harness.task import Cell
    from .saved_files import ModelFacts
    from .scoring.asked import Asked


@dataclass(frozen=True, slots=True)
class Sight:
    """What each question is asked with.

    Attributes:
        tokens: image tokens (N, L, D); None asks without images.
        rows: for each question the row of its image; -1 where the image could not be read.
    """

    tokens: np.ndarray | None
    rows: Sequence[int]


def answers_of(
    cell: Cell,
    name: str,
    model: AnsweringModel,
    facts: ModelFacts,
    asked: Sequence[Asked],
    sight: Sight,
    samples: Sequence[int] = (),
) -> list[list[str]]:
    """For each question the greedy answer, then one for each seed; empty without an image."""
    template = find_template(facts.template)

    def compute(start: int, stop: int) -> dict[str, np.ndarray]:
        texts = [[""] * (1 + len(samples)) for _ in range(start, stop)]
        seen = [row for row in range(start, stop) if sight.rows[row] >= 0]
        for first in range(0, len(seen), facts.prompts):
            block = seen[first : first + facts.prompts]
            prompts = [_prompt(asked[row], sight, row) for row in block]
            found = answer(model, prompts, template, new_tokens=facts.new_tokens, samples=samples)
            for row, each in zip(block, found, strict=True):
                texts[row - start] = each
        return {"texts": np.array(texts, dtype=np.str_)}

    shards = run_shards(cell.work / f"answers-{name}", len(asked), compute, label=f"{name} answers")
    return [list(map(str, row)) for shard in shards for row in shard["texts"]]


def _prompt(asked: Asked, sight: Sight, row: int) -> Prompt:
    image = None if sight.tokens is None else np.asarray(sight.tokens[sight.rows[row]])
    return Prompt(asked.question.id, asked.question.question, image)
