"""The VQA task: teach, answer, score; or score answers that were made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.errors import NotApplicable, UsageError
from ...harness.file_hashes import file_sha256
from ...harness.task import Cell, Outcome, Plan
from ...harness.vocabulary import BLIND, SHUFFLED
from .controls import ELSEWHERE, training_questions
from .definitions import SAMPLED, definitions, model_hash
from .overlap import refuse_learnt_questions
from .presets import DEFAULT, find_preset, scored_images
from .scoring.asked import Asked, asked_of, question_set
from .scoring.jsonl_files import read_answers
from .scoring.report import report

if TYPE_CHECKING:
    from ...harness.datasets.dataset import Dataset
    from ...harness.record import Definition


class VqaTask:
    """Does a language model still understand the image through a tokenizer's features?"""

    name = "vqa"
    default_dataset = "medsynth"
    stage_version = 2
    seeded = True
    options = ("preset", "model", "answers", "recipe")

    def check_options(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """The source of the answers: a preset, a model or a file, the last two by hash.

        Raises:
            UsageError: more than one, an unknown preset, a file that is not there, or a recipe
                that is stated for what is made here.
        """
        recipe = {name: text for name, text in options.items() if name == "recipe"}
        sources = sorted(options.keys() - recipe.keys())
        if len(sources) > 1:
            named = " and ".join(f"--{name}" for name in sources)
            message = f"{named}: answers come from one source; give one of them"
            raise UsageError(message)
        if "answers" in options:
            return {"answers": file_sha256(Path(options["answers"]))} | recipe
        if "model" in options:
            return {"model": model_hash(Path(options["model"]))} | recipe
        if recipe:
            message = "--recipe says how --answers or --model were made; a preset says it itself"
            raise UsageError(message)
        return {"preset": find_preset(options.get("preset", DEFAULT)).name}

    def scored_limit(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> int | None:
        """The user's, or the preset's."""
        del dataset
        return scored_images(options, limit)

    def parts(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> Mapping[str, int | None]:
        """The parts whose captions and questions the preset learns; none for given answers.

        Raises:
            UsageError: the dataset has no questions, or those that would be learnt.
        """
        del limit  # of the questions that are scored; the recipe says how much is learnt
        question_set(dataset)
        self.check_options(options)
        if "answers" in options or "model" in options:
            return {}
        preset = find_preset(options.get("preset", DEFAULT))
        refuse_learnt_questions(dataset, preset)
        return {preset.captions: preset.images, preset.pairs: preset.images}

    def definitions(self, plan: Plan) -> Mapping[str, Definition]:
        """Definitions by metric and setting."""
        return definitions(plan)

    def outline(self, options: Mapping[str, str]) -> str:
        """Prompt, steps, parameters and rates of a preset; where answers come from, else."""
        if "answers" in options or "model" in options:
            return "scores what is given; nothing is trained"
        from .outline import outline

        return outline(find_preset(options.get("preset", DEFAULT)))

    def run(self, cell: Cell) -> Outcome:
        """Measure one cell."""
        limit = scored_images(cell.plan.options, cell.plan.limit)
        asked = asked_of(question_set(cell.dataset), limit)
        if "answers" in cell.plan.options:
            return _from_file(cell, asked, Path(cell.plan.options["answers"]))
        if reason := cell.tokenizer.info.cannot.get("features"):
            message = f"a language model has nothing to read from it: {reason}"
            raise NotApplicable(message)
        from .measure import measure

        return measure(cell, asked)


def _from_file(cell: Cell, asked: list[Asked], path: Path) -> Outcome:
    from .outcome import Table, outcome

    found = report(asked, read_answers(path), fingerprint=cell.store.fingerprint)
    warnings = [
        f"answers were made elsewhere ({path.name}); that they come from "
        f"{cell.tokenizer.info.full_name} is the user's statement"
    ]
    if found.missing:
        warnings.append(
            f"{len(found.missing)} of {len(asked)} questions have no answer and count as wrong: "
            f"{', '.join(found.missing[:5])}"
        )
    table = Table(cell, asked)
    table.add_answers("", [found.verdicts], found.answers, legacy=True)
    table.add_majority(training_questions(cell.dataset))
    for setting in (SAMPLED, BLIND, SHUFFLED):
        table.absent(setting, ELSEWHERE)
    return outcome(table, warnings)


TASK = VqaTask()
"""What the registry resolves."""
