"""From verdicts to metrics with intervals, over all questions and in groups of them.

Denominators are all questions of a kind, always: what is missing or cannot be parsed is wrong.
Groups are the modality, `language:…`, `topic:…` and `organ:…`. Questions about one image are drawn
together by the bootstrap; where no two share an image, proportions get Wilson's interval, and where
all images are worth the same, which resamples cannot spread, all metrics that of as many trials as
images. A single image has no spread: where its mean is not 0 or 1 there are no ends, and a flag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ....harness.statistics.bootstrap import Sample, bootstrap_means
from ....harness.statistics.intervals import Interval
from ....harness.statistics.proportions import share_interval, wilson_interval
from ....harness.vocabulary import FACET, POOLED
from .asked import Asked
from .legacy import LegacyScores
from .verdict import Verdict

if TYPE_CHECKING:
    from numpy.typing import NDArray

METRICS = ("closed_accuracy", "open_exact", "open_recall", "open_f1", "overall")
"""Names of what is scored, in the order of tables."""

LEGACY = "legacy"
"""Setting of the old definition; see `legacy`."""
IMAGES_UNKNOWN = "images unknown: questions count as independent"
ONE_IMAGE = "one image: spread unknown"
_NO_WIDTH = 1e-9
PROPORTIONS = frozenset({"closed_accuracy", "open_exact", "overall"})
"""Metrics of which each answer is right or wrong."""
_KIND_OF = dict.fromkeys(METRICS, "open") | {"closed_accuracy": "closed", "overall": None}


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What each answer is worth, float64 (N,) each; means over several answers where asked often.

    Attributes:
        correct: 0 or 1.
        recall: of words.
        f1: of words.
    """

    correct: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]

    @classmethod
    def of(cls, *attempts: Sequence[Verdict]) -> Worth:
        """The mean over one or more verdicts for each question."""
        table = np.array([[(v.correct, v.recall, v.f1) for v in each] for each in attempts])
        mean = table.astype(np.float64).mean(axis=0)
        return cls(mean[:, 0], mean[:, 1], mean[:, 2])

    def values(self, name: str) -> NDArray[np.float64]:
        """What a metric averages."""
        return {"open_recall": self.recall, "open_f1": self.f1}.get(name, self.correct)


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one group.

    Attributes:
        name: one of `METRICS`.
        group: `all`, a modality, or a facet such as `topic:side`.
        value: None where the group has no question of the kind.
        low: lower end of the 95 % interval; None where the spread is unknown.
        high: upper end.
        n: questions in the denominator.
        setting: empty, or `legacy`.
        replicates: of the bootstrap, for the ranked values over all questions; else None.
        flags: what a reader must know.
        reason: why the value is absent.
    """

    name: str
    group: str
    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    setting: str = ""
    replicates: NDArray[np.float64] | None = None
    flags: tuple[str, ...] = field(default=())
    reason: str | None = None


def scores(
    asked: Sequence[Asked], worth: Worth, *, fingerprint: str, brief: bool = False
) -> list[Score]:
    """All metrics of all groups.

    Args:
        asked: the questions.
        worth: of one answer to each, in the same order.
        fingerprint: of the images, or of the question file; equal for all systems, so that their
            replicates are paired.
        brief: only all questions, and the overall accuracy of each topic.
    """
    found: list[Score] = []
    for group, rows in groups(asked).items():
        wanted = METRICS
        if brief and group != POOLED:
            wanted = ("overall",) if group.startswith("topic:") else ()
        for name in wanted:
            chosen = [row for row in rows if is_scored(name, asked[row])]
            if chosen:
                values = worth.values(name)[chosen]
                found.append(_score(name, group, values, [asked[r] for r in chosen], fingerprint))
            elif group == POOLED:
                reason = f"there are no {_KIND_OF[name]} questions"
                found.append(Score(name, group, None, 0, reason=reason))
    return found


def is_scored(name: str, each: Asked) -> bool:
    """Whether a metric counts a question."""
    return _KIND_OF[name] in (None, each.question.kind)


def groups(asked: Sequence[Asked]) -> dict[str, list[int]]:
    """Row numbers of all questions, of each modality and of each facet; facets of one are none."""
    found: dict[str, list[int]] = {POOLED: list(range(len(asked)))}
    for names in (_modality, _language, _topic, _organ):
        parts: dict[str, list[int]] = {}
        for row, each in enumerate(asked):
            for name in names(each):
                parts.setdefault(name, []).append(row)
        if len(parts) > 1:
            found |= dict(sorted(parts.items()))
    return found


def _modality(each: Asked) -> Iterator[str]:
    if each.group:
        yield each.group


def _language(each: Asked) -> Iterator[str]:
    yield f"language:{each.question.language}"


def _topic(each: Asked) -> Iterator[str]:
    """A question of several classes (`ATTRIB, PRES`) counts in each of them."""
    for part in (each.question.topic or "").split(","):
        yield from _facet("topic", part.strip())


def _organ(each: Asked) -> Iterator[str]:
    yield from _facet("organ", (each.organ or "").strip())


def _facet(kind: str, name: str) -> Iterator[str]:
    if name and FACET.fullmatch(f"{kind}:{name}"):
        yield f"{kind}:{name}"


def _score(
    name: str, group: str, values: NDArray[np.float64], asked: Sequence[Asked], fingerprint: str
) -> Score:
    interval = bootstrap_means(values, sample_of(asked, fingerprint, group))[POOLED]
    if name in PROPORTIONS or interval.value in (0.0, 1.0):
        interval = share_interval(interval, values)
    interval = _spread(interval)
    flags = [] if all(each.question.image_id for each in asked) else [IMAGES_UNKNOWN]
    flags += [ONE_IMAGE] if interval.low is None else []
    keep = group == POOLED and len(interval.replicates) > 0
    return Score(
        name,
        group,
        interval.value,
        len(values),
        interval.low,
        interval.high,
        replicates=interval.replicates if keep else None,
        flags=tuple(flags),
    )


def _spread(interval: Interval) -> Interval:
    """Ends of Wilson's interval where images of one mean leave those of the resamples no width."""
    low, high = interval.low, interval.high
    if low is None or high is None or high - low > _NO_WIDTH:
        return interval
    exact = wilson_interval(interval.value * interval.units, interval.units)
    return replace(interval, low=exact.low, high=exact.high)


def sample_of(asked: Sequence[Asked], fingerprint: str, group: str = POOLED) -> Sample:
    """How questions are drawn: those of one image together, by modality where all are pooled.

    Modalities are drawn as one where one of them has a single image, which alone has no spread.
    """
    images = [each.question.image_id for each in asked]
    clusters = images if any(images) else None
    strata = [each.group or "questions" if group == POOLED else group for each in asked]
    sample = Sample(fingerprint, strata, clusters)
    if min(units.count for units in sample.units().values()) > 1:
        return sample
    return Sample(fingerprint, ["questions"] * len(asked), clusters)


def legacy_as_scores(legacy: LegacyScores, asked: Sequence[Asked]) -> list[Score]:
    """The old definition's values over all questions, as scores of the setting `legacy`."""
    closed = sum(each.question.kind == "closed" for each in asked)
    left_out = closed - legacy.closed_counted
    flags = (f"{left_out} of {closed} closed questions left out",) if left_out else ()
    none_left = "no question is left in the denominator"
    values: Mapping[str, tuple[float | None, int, tuple[str, ...]]] = {
        "closed_accuracy": (legacy.closed_accuracy, legacy.closed_counted, flags),
        "open_exact": (legacy.open_exact, legacy.open_counted, ("unigram precision",)),
        "open_recall": (legacy.open_recall, legacy.open_counted, ()),
        "open_f1": (legacy.open_f1, legacy.open_counted, ()),
    }
    return [
        Score(name, POOLED, value, n, setting=LEGACY, flags=marks)
        if value is not None
        else Score(name, POOLED, None, 0, setting=LEGACY, reason=none_left)
        for name, (value, n, marks) in values.items()
    ]
