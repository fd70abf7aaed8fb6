"""The synthesis task: codes, a generator, samples, scores; every stage is kept and resumed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...harness.datasets.parts import has_part
from ...harness.errors import UsageError
from ...harness.file_hashes import file_sha256
from ...harness.task import Cell, Outcome, Plan
from ..recon.features import available_space
from .definitions import chosen_preset, definitions
from .presets import DEFAULT, preset_identity
from .trained import WEIGHTS, read_facts

if TYPE_CHECKING:
    from ...harness.datasets.dataset import Dataset
    from ...harness.record import Definition


class SynthesisTask:
    """Train a generator on a tokenizer's codes, sample, decode, and compare with real images."""

    name = "synthesis"
    default_dataset = "medsynth"
    stage_version = 1
    seeded = True
    options: tuple[str, ...] = ("preset", "generator")

    def check_options(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """The preset by name (a file by its terms' hash), a given generator by its weights' hash.

        Raises:
            UsageError: no such preset, or one that is wrong.
            MissingPrerequisite: no generator at the given place.
        """
        checked = {"preset": preset_identity(options.get("preset", DEFAULT))}
        if "generator" in options:
            folder = Path(options["generator"])
            read_facts(folder)
            checked["generator"] = file_sha256(folder / WEIGHTS)
        return checked

    def scored_limit(self, options: Mapping[str, str], limit: int | None) -> int | None:
        """As many as samples are drawn."""
        samples = chosen_preset(options).samples
        return samples if limit is None else min(limit, samples)

    def parts(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> Mapping[str, int | None]:
        """`train`, and `val` where the scored part has too few images of a class."""
        preset = chosen_preset(options)
        limits = [each for each in (preset.train_images, limit) if each is not None]
        wanted: dict[str, int | None] = {"train": min(limits) if limits else None}
        counts: dict[str, int] = {}
        for item in dataset.items(limit):
            counts[item.group] = counts.get(item.group, 0) + 1
        if min(counts.values(), default=0) < preset.samples and has_part(dataset, "val"):
            wanted["val"] = preset.samples if limit is None else min(limit, preset.samples)
        return wanted

    def definitions(self, plan: Plan) -> Mapping[str, Definition]:
        """Definitions by metric name."""
        return definitions(plan, available_space())

    def run(self, cell: Cell) -> Outcome:
        """Measure one cell.

        Raises:
            NotApplicable: the tokenizer has no codes.
            UsageError: too few training images, or a generator that does not belong here.
        """
        from .stages import Stages

        stages = Stages(cell, chosen_preset(cell.plan.options), available_space())
        if "train" not in cell.parts:
            message = f"{cell.plan.dataset_id} has no part `train` to learn from"
            raise UsageError(message)
        return stages.run()


TASK = SynthesisTask()
