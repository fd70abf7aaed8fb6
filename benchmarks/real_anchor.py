"""Where an untrained network stands in the table of probes, in words that follow from the records.

A probe that works puts features of random weights between chance and a network that was trained on
the set: the small classifier of diagnostic retention, which learns on originals and is asked about
the same test images (`auc` of the setting `originals`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tabulate import tabulate

from medbench.harness.record import Record
from medbench.harness.record_metric import Metric
from medbench.harness.vocabulary import ORIGINALS, POOLED

CHANCE = 0.5
_BLOCK = re.compile("(<!-- anchor:begin -->\n).*(<!-- anchor:end -->)", re.DOTALL)


def with_anchor(page: str, text: str) -> str:
    """The page with this text between its marks, or as it is where it has none."""
    return _BLOCK.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page)


def anchor_text(probes: Sequence[Record], ceilings: Sequence[Record], anchor: str) -> str:
    """A table with a row per set, and a sentence on each.

    Args:
        probes: of the anchor and of the trained rows (`@tiny`).
        ceilings: reconstruction with retention, of any tokenizer, on the same test images.
        anchor: full name of the untrained network.
    """
    rows, sentences = [], []
    for record in probes:
        if record.full_name != anchor:
            continue
        same = [other for other in probes if _images(other) == _images(record)]
        trained = {each.tokenizer: _auc(each) for each in same if each.variant == "tiny"}
        ceiling = next((c for c in ceilings if _images(c) == _images(record)), None)
        found = _auc(record), ceiling and ceiling.metric("auc", POOLED, ORIGINALS)
        rows.append(_row(record.dataset.id, *found))
        sentences.append(f"- `{record.dataset.id}`: {_sentence(*found, trained)}")
    headers = ["set", "chance", "untrained, AUC", "classifier trained on the set, AUC"]
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    return "\n".join([table, "", *sentences])


def _images(record: Record) -> str:
    return record.identity.data_fingerprint


def _auc(record: Record) -> Metric | None:
    return record.metric("auc", POOLED)


def _row(dataset: str, own: Metric | None, ceiling: Metric | None) -> list[str]:
    return [f"`{dataset}`", f"{100 * CHANCE:.1f}", _shown(own), _shown(ceiling)]


def _shown(metric: Metric | None) -> str:
    if metric is None or metric.value is None:
        return "not measured"
    if metric.low is None or metric.high is None:
        return f"{100 * metric.value:.1f}"
    return f"{100 * metric.value:.1f} ±{50 * (metric.high - metric.low):.1f}"


def _sentence(own: Metric | None, ceiling: Metric | None, trained: dict[str, Metric | None]) -> str:
    if own is None or own.value is None:
        return "the untrained network has no value."
    words = [_against_chance(own), _against_ceiling(own, ceiling)]
    known = {name: m.value for name, m in trained.items() if m is not None and m.value is not None}
    below = sorted(name for name, value in known.items() if value < own.value)
    names = f": {', '.join(below)}" if below else ""
    return f"{'; '.join(words)}; above {len(below)} of {len(known)} trained rows{names}."


def _against_chance(own: Metric) -> str:
    if own.low is not None and own.low > CHANCE:
        return "better than chance"
    return "**not told apart from chance**"


def _against_ceiling(own: Metric, ceiling: Metric | None) -> str:
    if ceiling is None or ceiling.value is None:
        return "no trained classifier beside it"
    if (own.value or 0.0) > ceiling.value:
        return "**above the trained classifier**"
    if own.high is not None and ceiling.low is not None and own.high < ceiling.low:
        return "below the trained classifier"
    return "below the trained classifier, intervals overlapping"
