"""Records as plain-text or Markdown tables: what `run` prints and the leaderboard shows.

Displayed value = stored value, rounded to the digits that the vocabulary fixes per metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .record import Metric, Record
from .vocabulary import MACRO, METRICS, MODALITIES, POOLED

Row = dict[str, str]

_SUMMARY_METRICS = ("psnr", "ssim", "ms_ssim", "rfid", "kid", "rfd_random", "usage")
_BY_MODALITY_METRICS = ("psnr", "ms_ssim")
ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}


def heading(name: str) -> str:
    """A metric's column title with its unit and the direction that is better."""
    facts = METRICS[name]
    unit = f" ({facts.unit})" if facts.unit else ""
    return f"{facts.title}{unit}{ARROWS[facts.direction]}"


def shown(metric: Metric | None, *, interval: bool = True) -> str:
    """`31.42 ±0.18`, or a dash where the value is absent."""
    if metric is None or metric.value is None:
        return "–"
    digits = METRICS[metric.name].digits
    text = f"{metric.value:.{digits}f}"
    if interval and metric.low is not None and metric.high is not None:
        text += f" ±{(metric.high - metric.low) / 2:.{digits}f}"
    return text


def overall(record: Record, name: str) -> Metric | None:
    """The macro value where it exists, else the pooled one."""
    macro = record.metric(name, MACRO)
    return macro if macro is not None and macro.value is not None else record.metric(name, POOLED)


def summary_rows(records: Iterable[Record]) -> list[Row]:
    """One row per record: rate, overall scores, speed, status."""
    records = list(records)
    names = [
        name
        for name in _SUMMARY_METRICS
        if any((m := overall(r, name)) is not None and m.value is not None for r in records)
    ]
    return [
        {
            "tokenizer": record.full_name,
            "kind": record.info.kind,
            "bits/px": rate(record),
            **{heading(name): shown(overall(record, name)) for name in names},
            "img/s": speed(record),
            "status": record.status,
        }
        for record in records
    ]


def rate(record: Record) -> str:
    """Nominal bits per pixel, measured ones for codecs; `none` for bounds."""
    measured = record.metric("bits_per_pixel", POOLED)
    if measured is None or measured.value is None:
        return "none" if record.info.kind == "bound" else "–"
    note = "*" if record.info.kind == "continuous" else ""
    return f"{measured.value:.3f}{note}"


def speed(record: Record) -> str:
    """Encode-and-decode throughput on the machine that measured it."""
    per_second = record.timing.images_per_second if record.timing else None
    return "–" if per_second is None else f"{per_second:.1f}"


def modality_rows(records: Iterable[Record], name: str) -> list[Row]:
    """One row per record, one column per modality, for one metric."""
    records = list(records)
    groups = [g for g in MODALITIES if any(record.metric(name, g) for record in records)]
    if any((m := r.metric(name, MACRO)) is not None and m.value is not None for r in records):
        groups.append(MACRO)
    return [
        {
            "tokenizer": record.full_name,
            **{g: shown(record.metric(name, g), interval=g == MACRO) for g in groups},
        }
        for record in records
    ]


def reasons(records: Iterable[Record]) -> list[str]:
    """Why values are absent and rows are not `ok`, each said once."""
    said: dict[str, None] = {}
    absent: dict[str, dict[str, None]] = {}
    for record in records:
        if record.status_reason:
            said[f"{record.full_name}: {record.status}: {record.status_reason}"] = None
        for metric in record.metrics:
            overall_one = metric.value is None and metric.group in (POOLED, MACRO)
            if overall_one and record.info.kind in ("discrete", "continuous"):
                absent.setdefault(str(metric.reason), {})[METRICS[metric.name].title] = None
        for warning in record.warnings:
            said[f"{record.full_name}: {warning}"] = None
    return [*said, *(f"{', '.join(titles)}: {reason}" for reason, titles in absent.items())]


def text_table(rows: Sequence[Row]) -> str:
    """Rows as a plain-text table."""
    from tabulate import tabulate

    return tabulate(
        rows, headers="keys", tablefmt="simple", disable_numparse=True, colalign=_alignment(rows)
    )


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; cells are escaped."""
    from tabulate import tabulate

    escaped = [{k: v.replace("|", "\\|") for k, v in row.items()} for row in rows]
    return tabulate(
        escaped, headers="keys", tablefmt="pipe", disable_numparse=True, colalign=_alignment(rows)
    )


_TEXT_COLUMNS = frozenset({"tokenizer", "kind", "status", "rank"})


def _alignment(rows: Sequence[Row]) -> list[str]:
    columns = rows[0] if rows else {}
    return ["left" if column in _TEXT_COLUMNS else "right" for column in columns]


def run_report(records: Sequence[Record]) -> str:
    """What `medbench run` prints: per task and data set, the summary and the modalities."""
    parts: list[str] = []
    cells = {(record.task, record.dataset.id): None for record in records}
    for task, dataset in cells:
        chosen = [r for r in records if (r.task, r.dataset.id) == (task, dataset)]
        facts = chosen[0].dataset
        parts.append(f"{task} on {dataset} ({facts.split}), {facts.n} images")
        parts.append(text_table(summary_rows(chosen)))
        for name in _BY_MODALITY_METRICS:
            if any(record.metric(name, group) for record in chosen for group in MODALITIES):
                parts.append(heading(name))
                parts.append(text_table(modality_rows(chosen, name)))
        notes = reasons(chosen)
        if notes:
            parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts)
