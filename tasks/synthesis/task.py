"""The synthesis task: codes, a generator, samples, scores; every stage is kept and resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ...harness.datasets.parts import check_scored, has_part, part_of
from ...harness.task import Cell, Outcome, Plan
from ..recon.features import available_space
from .classes import class_name, classes_of, group_limit
from .definitions import chosen_preset, definitions, learnt_images, samples_per_class
from .generator_facts import generator_sha256, given_generator, read_facts
from .presets import DEFAULT, preset_identity

if TYPE_CHECKING:
    from ...harness.datasets.dataset import Dataset
    from ...harness.record import Definition


class SynthesisTask:
    """Train a generator on a tokenizer's codes, sample, decode, and compare with real images."""

    name = "synthesis"
    default_dataset = "medsynth"
    stage_version = 3
    seeded = True
    options: tuple[str, ...] = ("preset", "generator")

    def check_options(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """The preset by name (a file by its terms' hash), a given generator by its weights' hash.

        Raises:
            UsageError: no such preset, or one that is wrong.
            MissingPrerequisite: no generator at the given place.
        """
        checked = {"preset": preset_identity(options.get("preset", DEFAULT))}
        if (given := given_generator(options)) is not None:
            read_facts(given, options)
            checked["generator"] = generator_sha256(given)
        return checked

    def scored_limit(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> int | None:
        """As many images of each class as samples are drawn."""
        names = classes_of(part_of(dataset, "train"), limit)
        return group_limit(dataset, names, samples_per_class(options, limit), limit)

    def parts(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> Mapping[str, int | None]:
        """`train`, and `val` where the scored part is another with too few images of a class.

        Raises:
            UsageError: the set has no training part, or the scored part does not leave it out.
        """
        check_scored(dataset, ["train"], task="synthesis")
        samples = samples_per_class(options, limit)
        train = part_of(dataset, "train")
        names = classes_of(train, limit)
        wanted = {"train": group_limit(train, names, learnt_images(options), limit)}
        counts = Counter(class_name(item, names) for item in dataset.items(limit))
        if min(counts[name] for name in names) < samples and has_part(dataset, "val"):
            val = part_of(dataset, "val")
            # A union has the splits of its sets, one after the other.
            if not set(val.split.split(", ")) & set(dataset.split.split(", ")):
                wanted["val"] = group_limit(val, names, samples, limit)
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

        plan = cell.plan
        samples = samples_per_class(plan.options, plan.limit)
        preset = replace(chosen_preset(plan.options), samples=samples)
        return Stages(cell, preset, available_space()).run()


TASK = SynthesisTask()
