"""Records as plain-text or Markdown tables: what `run` prints and the leaderboard shows.

Displayed value = stored value, rounded to the digits that the vocabulary fixes per metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .record import Metric, Record
from .registry import task_entries
from .vocabulary import CONTROLS, MACRO, METRICS, MODALITIES, POOLED, Direction

Row = dict[str, str]

ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}


@dataclass(frozen=True, slots=True)
class Column:
    """A metric in one setting, as a table shows it."""

    metric: str
    setting: str = ""

    @classmethod
    def parse(cls, text: str) -> Column:
        """From `NAME` or `NAME[SETTING]`."""
        name, _, setting = text.removesuffix("]").partition("[")
        return cls(name, setting)

    @property
    def heading(self) -> str:
        """Title, setting, unit, and the direction that is better."""
        facts = METRICS[self.metric]
        title = f"{facts.title}, {self.setting}" if self.setting else facts.title
        unit = f" ({facts.unit})" if facts.unit else ""
        return f"{title}{unit}{ARROWS[self.direction]}"

    @property
    def direction(self) -> Direction:
        """Which is better; `none` for a control."""
        return "none" if self.setting in CONTROLS else METRICS[self.metric].direction

    def of(self, record: Record, group: str) -> Metric | None:
        """The record's value of a group."""
        return record.metric(self.metric, group, self.setting)

    def overall(self, record: Record) -> Metric | None:
        """The macro value where it exists, else the pooled one."""
        macro = self.of(record, MACRO)
        return macro if macro is not None and macro.value is not None else self.of(record, POOLED)


def columns_of(task: str, records: Iterable[Record]) -> list[Column]:
    """What tables show of a task's records: its own columns, of another's every main metric."""
    entry = task_entries().get(task)
    records = list(records)
    held = {
        (m.name, m.setting)
        for record in records
        for m in record.metrics
        if m.value is not None and m.group in (MACRO, POOLED)
    }
    if entry is not None and entry.columns:
        columns = [Column.parse(text) for text in entry.columns]
    else:
        main = dict.fromkeys(m.name for r in records for m in r.metrics if not m.setting)
        columns = [Column(name) for name in main]
    return [column for column in columns if (column.metric, column.setting) in held]


def modality_columns(task: str) -> list[Column]:
    """The metrics of a task that get a table over the modalities."""
    entry = task_entries().get(task)
    return [Column.parse(text) for text in entry.by_modality] if entry is not None else []


def shown(metric: Metric | None, *, interval: bool = True) -> str:
    """`31.42 ±0.18`, or a dash where the value is absent."""
    if metric is None or metric.value is None:
        return "–"
    digits = METRICS[metric.name].digits
    text = f"{metric.value:.{digits}f}"
    if interval and metric.low is not None and metric.high is not None:
        text += f" ±{(metric.high - metric.low) / 2:.{digits}f}"
    return text


def summary_rows(records: Sequence[Record]) -> list[Row]:
    """One row per record of a task: rate, overall scores, speed, status."""
    columns = columns_of(records[0].task, records) if records else []
    return [
        {
            "tokenizer": record.full_name,
            "kind": record.info.kind,
            "bits/px": rate(record),
            **{column.heading: shown(column.overall(record)) for column in columns},
            "img/s": speed(record),
            "status": record.status,
        }
        for record in records
    ]


def rate(record: Record) -> str:
    """`bits_per_pixel` as tables show it; `none` for bounds."""
    bits = bits_per_pixel(record)
    if bits is None:
        return "none" if record.info.kind == "bound" else "–"
    note = "*" if record.info.kind == "continuous" else ""
    return f"{bits:.3f}{note}"


def bits_per_pixel(record: Record) -> float | None:
    """Measured by the task, else nominal at the system's own resolution; None for bounds."""
    measured = record.metric("bits_per_pixel", POOLED)
    if measured is not None and measured.value is not None:
        return measured.value
    info = record.info
    return None if info.bits_per_image is None else info.bits_per_image / info.resolution**2


def speed(record: Record) -> str:
    """Encode-and-decode throughput on the machine that measured it."""
    per_second = record.timing.images_per_second if record.timing else None
    return "–" if per_second is None else f"{per_second:.1f}"


def modality_rows(records: Iterable[Record], column: Column) -> list[Row]:
    """One row per record, one column per modality, for one metric.

    None where no group has a value, and none of images of a single modality: it is all of them.
    """
    records = list(records)
    found = [column.of(record, group) for group in (*MODALITIES, MACRO) for record in records]
    valued = {metric.group for metric in found if metric is not None and metric.value is not None}
    groups = [group for group in MODALITIES if group in valued]
    if not groups or all(len(record.dataset.groups) == 1 for record in records):
        return []
    if MACRO in valued:
        groups.append(MACRO)
    return [
        {
            "tokenizer": record.full_name,
            **{g: shown(column.of(record, g), interval=g == MACRO) for g in groups},
        }
        for record in records
    ]


def reasons(records: Iterable[Record]) -> list[str]:
    """Why values are absent and rows are not `ok`, each said once, with all that it is said of."""
    said: dict[str, dict[str, None]] = {}
    absent: dict[str, dict[str, None]] = {}
    for record in records:
        if record.status_reason:
            why = f"{record.status}: {record.status_reason}"
            said.setdefault(why, {})[record.full_name] = None
        for metric in record.metrics:
            overall_one = metric.value is None and metric.group in (POOLED, MACRO)
            if overall_one and record.info.kind in ("discrete", "continuous"):
                absent.setdefault(str(metric.reason), {})[METRICS[metric.name].title] = None
        for warning in record.warnings:
            said.setdefault(warning, {})[record.full_name] = None
    rows = [f"{_listed(list(names))}: {text}" for text, names in said.items()]
    return [*rows, *(f"{', '.join(titles)}: {reason}" for reason, titles in absent.items())]


_NAMED = 4
"""Of more rows that share a reason, the first ones are named and the others counted."""


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1} others"


def text_table(rows: Sequence[Row]) -> str:
    """Rows as a plain-text table."""
    from tabulate import tabulate

    return tabulate(
        rows, headers="keys", tablefmt="simple", disable_numparse=True, colalign=_alignment(rows)
    )


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; cells are escaped."""
    from tabulate import tabulate

    escaped = [{k: _escaped(v) for k, v in row.items()} for row in rows]
    return tabulate(
        escaped, headers="keys", tablefmt="pipe", disable_numparse=True, colalign=_alignment(rows)
    )


def _escaped(text: str) -> str:
    """A cell that neither ends early nor is taken for HTML."""
    plain = " ".join(text.split())
    return plain.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


_TEXT_COLUMNS = frozenset(
    {"tokenizer", "minus", "kind", "status", "rank", "trust", "place", "cell", "metric", "group"}
    | {"verdict", "by", "why"}
)


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
        for column in modality_columns(task):
            if rows := modality_rows(chosen, column):
                parts.append(column.heading)
                parts.append(text_table(rows))
        notes = reasons(chosen)
        if notes:
            parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts)
