"""One cell with a model: greedy answers, answers at temperature 0.2, and the controls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.task import Cell, Outcome
from ...harness.vocabulary import BLIND, SHUFFLED
from .answers import Sight, answers_of
from .controls import other_images, training_questions
from .definitions import SAMPLED
from .image_tokens import image_tokens
from .lessons import Lessons
from .model import AnsweringModel
from .outcome import Table, outcome
from .overlap import learnt_images
from .presets import DEFAULT, PRESETS, SEEDS, find_preset
from .saved import load_model
from .saved_files import ModelFacts
from .scoring.asked import question_set, questions_about
from .scoring.verdict import judge_all

if TYPE_CHECKING:
    from .scoring.asked import Asked

_NO_TRAINING = "a given model is not trained here; its blind twin is not known"
_LONE = "needs two images that can be read, and there is one"


def measure(cell: Cell, asked: list[Asked]) -> Outcome:
    """Teach or load the model of a cell, and ask it everything."""
    begun = time.perf_counter()
    options = cell.plan.options
    warnings = [*_absent_images(cell, asked), *learnt_images(cell)]
    table = Table(cell, asked)
    rows = {row.id: number for number, row in enumerate(cell.store.rows)}
    seen = [rows.get(each.question.image_id, -1) for each in asked]
    if "model" in options:
        given = load_model(Path(options["model"]))
        warnings += _doubts(given.facts)
        given.model.to(cell.device)
        _with_images(table, given.model, given.facts, seen, samples=SEEDS)
        table.absent(BLIND, _NO_TRAINING)
        table.add_majority(training_questions(cell.dataset))
        done = outcome(table, warnings, metric_seconds=time.perf_counter() - begun)
        return _unranked(done, _unfit(cell, given.facts))
    preset = find_preset(options.get("preset", DEFAULT))
    facts = ModelFacts(preset.template, preset.side, preset.new_tokens, "", prompts=preset.prompts)
    lessons = Lessons(cell, preset)
    _with_images(table, lessons.with_images().model, facts, seen, samples=preset.samples)
    blind = lessons.without_images().model
    found = answers_of(cell, BLIND, blind, facts, asked, Sight(None, seen))
    _add(table, BLIND, found)
    part = cell.parts[preset.pairs]
    images = {row.id for row in part.store.rows}
    table.add_majority(questions_about(question_set(part.dataset), images))
    done = outcome(table, warnings, metric_seconds=time.perf_counter() - begun)
    return _unranked(done, [] if preset.ranked else [_only_shows(preset.name)])


def _with_images(
    table: Table,
    model: AnsweringModel,
    facts: ModelFacts,
    seen: Sequence[int],
    *,
    samples: Sequence[int],
) -> None:
    """Greedy, sampled and shuffled."""
    cell, asked = table.cell, table.asked
    tokens = image_tokens(cell, cell.store, side=facts.side).rows
    found = answers_of(cell, "image", model, facts, asked, Sight(tokens, seen), samples)
    _add(table, "", found, legacy=True)
    if samples:
        attempts = [[row[1 + place] for row in found] for place in range(len(samples))]
        verdicts = [judge_all(asked, each) for each in attempts]
        table.add_answers(SAMPLED, verdicts, attempts[0])
    if len(cell.store) < 2:
        table.absent(SHUFFLED, _LONE)
        return
    other = other_images(len(cell.store), cell.store.fingerprint)
    shuffled = [int(other[row]) if row >= 0 else -1 for row in seen]
    _add(table, SHUFFLED, answers_of(cell, SHUFFLED, model, facts, asked, Sight(tokens, shuffled)))


def _add(
    table: Table, setting: str, found: Sequence[Sequence[str]], *, legacy: bool = False
) -> None:
    texts = [row[0] for row in found]
    table.add_answers(setting, [judge_all(table.asked, texts)], texts, legacy=legacy)


def _absent_images(cell: Cell, asked: Sequence[Asked]) -> list[str]:
    failed = {failure.id for failure in cell.store.failures}
    without = [each.question.id for each in asked if each.question.image_id in failed]
    if not without:
        return []
    return [
        f"{len(without)} of {len(asked)} questions are about {len(failed)} images that could not "
        f"be read ({', '.join(sorted(failed)[:5])}); they count as wrong"
    ]


def _doubts(facts: ModelFacts) -> list[str]:
    if facts.verified:
        return []
    return [
        "the model folder is in LLaVA's layout, which was never compared with the published "
        "files: unverified"
    ]


def _unfit(cell: Cell, facts: ModelFacts) -> list[str]:
    """Why the answers of a given model say nothing of this tokenizer on these images."""
    name, preset = cell.tokenizer.info.full_name, facts.recipe.get("preset")
    found = []
    if facts.tokenizer and facts.tokenizer != name:
        found.append(f"the model was trained on features of {facts.tokenizer}, not of {name}")
    if cell.plan.dataset_id in facts.recipe.get("parts", {}).values():
        found.append(f"the model was trained on {cell.plan.dataset_id}, which is scored")
    if preset in PRESETS and not PRESETS[preset].ranked:
        found.append(_only_shows(preset))
    return found


def _only_shows(preset: str) -> str:
    return f"preset {preset} only shows that everything runs; its numbers mean nothing"


def _unranked(done: Outcome, reasons: Sequence[str]) -> Outcome:
    """The outcome, which has no rank where there are reasons."""
    if not reasons:
        return done
    return replace(done, status="partial", status_reason="; ".join(reasons))
