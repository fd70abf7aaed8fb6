"""The probe task: features once, then one probe per group and way to probe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...harness.datasets.parts import check_scored, has_part
from ...harness.errors import NotApplicable, UsageError
from ...harness.task import Cell, Outcome, Plan
from .definitions import definitions, part_limits

if TYPE_CHECKING:
    from ...harness.datasets.dataset import Dataset
    from ...harness.record import Definition


class ProbeTask:
    """Read classes out of frozen features with the simplest classifiers."""

    name = "probe"
    default_dataset = "medsynth"
    stage_version = 2
    seeded = True
    options: tuple[str, ...] = ()

    def definitions(self, plan: Plan) -> Mapping[str, Definition]:
        """Definitions by metric and setting."""
        return definitions(plan)

    def check_options(self, options: Mapping[str, str]) -> Mapping[str, str]:
        """The task has none."""
        return dict(options)

    def scored_limit(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> int | None:
        """The user's."""
        del dataset, options
        return limit

    def parts(
        self, dataset: Dataset, options: Mapping[str, str], limit: int | None
    ) -> Mapping[str, int | None]:
        """`train` and `val`, as far as the set has them.

        Raises:
            UsageError: the scored part is one that is learnt on, or does not leave them out.
        """
        del options
        limits = part_limits(dataset.id.partition("@")[0], limit)
        found = {name: most for name, most in limits.items() if has_part(dataset, name)}
        if not found:
            return {}
        if "train" not in found:
            message = f"{dataset.id} has validation images and none to train on"
            raise UsageError(message)
        check_scored(dataset, found, task="the probe")
        return found

    def run(self, cell: Cell) -> Outcome:
        """Measure one cell."""
        from ...harness.probing.features import find_kinds
        from .measure import measure, one_image
        from .report import chance_warnings
        from .rows import per_image_table

        kinds = find_kinds(cell.tokenizer, one_image(cell))
        if not kinds.present:
            reason = "; ".join(dict.fromkeys(kinds.absent.values()))
            raise NotApplicable(reason)
        begun = time.perf_counter()
        measured = measure(cell, kinds)
        return Outcome(
            metrics=measured.report.metrics,
            per_image=per_image_table(measured.answers, cell.plan.dataset_id),
            warnings=[*measured.warnings, *chance_warnings(cell.plan, measured.report.metrics)],
            encode_seconds=measured.encode_seconds,
            metric_seconds=time.perf_counter() - begun,
        )


TASK = ProbeTask()
