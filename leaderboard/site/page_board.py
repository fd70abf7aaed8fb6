"""A board's page: a task on one set of images, with everything behind its tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ...harness.record import DatasetFacts, Definition, Record
from ...harness.vocabulary import METRICS
from ..trust import TRACK_MEANING, Track
from .agreement import Agreement, metric_agreement
from .gallery import ERROR_SCALE, Picture, sheets_by_class, side_by_side
from .heat import HeatMap, heat_maps
from .plot_forest import forest_plot
from .plot_rate import Plot, rate_plots
from .render import Site
from .tasks import TaskText, task_text
from .views import Board, Table

_TRACKS: Mapping[Track, str] = {
    "official": "Official track",
    "controlled": "Controlled track",
    "own": "Own systems",
    "paper": "Papers",
}
_PICTURED = 8
"""Rows whose pictures stand side by side."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table with the words and plots around it."""

    table: Table
    heading: str
    title: str
    why: str
    rate_plots: tuple[Plot, ...]
    forest: Plot | None
    agreement: Agreement | None
    heat_maps: tuple[HeatMap, ...]


@dataclass(frozen=True, slots=True)
class DefinitionView:
    """One definition with the metrics that use it."""

    id: str
    hash: str
    titles: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Preset:
    """A filter that answers a common question, as a link."""

    text: str
    query: str


def write_board(
    site: Site,
    board: Board,
    records: Mapping[str, Mapping[str, Record]],
    galleries: Mapping[str, list[Picture]],
) -> None:
    """Write the page; `records` by table id and row name, `galleries` by row name."""
    task = task_text(board.task)
    pictured = [row for row in board.main.rows if galleries.get(row.name)][:_PICTURED]
    shown = {row.name: galleries[row.name] for row in pictured}
    site.page(
        f"board/{board.name}.html",
        "board.html",
        task=task,
        board=board,
        facts=dataset_facts(board.facts),
        sections=[_section(board, table, task, records[table.id]) for table in board.tables],
        presets=presets(board.main),
        sizes=sorted({row.info.resolution for table in board.tables for row in table.rows} - {0}),
        comparisons=side_by_side(shown),
        sheets=sheets_by_class(shown),
        pictured=pictured,
        error_scale=ERROR_SCALE,
        definitions=definition_views(r for table in records.values() for r in table.values()),
    )


def dataset_facts(facts: DatasetFacts) -> list[tuple[str, str]]:
    """What a reader must know of the images, as terms and texts."""
    limit = f", at most {facts.limit} per group" if facts.limit else ""
    patients = f", of {facts.patients:,} patients" if facts.patients else ""
    counts = set(facts.groups.values())
    groups = ", ".join(f"{group} ({n:,})" for group, n in facts.groups.items())
    if len(counts) == 1 and len(facts.groups) > 1:
        groups = f"{', '.join(facts.groups)}: {counts.pop():,} each"
    pairs = [
        ("Images", f"{facts.n:,}{patients}{limit}"),
        ("Split", facts.split),
        ("Groups", groups),
        ("Size", f"{facts.resolution} × {facts.resolution} pixels, {facts.ingest_rule}"),
        ("Licence", facts.licence),
        ("Data fingerprint", facts.fingerprint[:16]),
    ]
    if facts.failed:
        pairs.append(("Unreadable", f"{len(facts.failed)} images left out"))
    return pairs


def _section(board: Board, table: Table, task: TaskText, records: Mapping[str, Record]) -> Section:
    heading = _TRACKS[table.track]
    if table.recipe and not board.recipe:
        heading += f", {table.recipe}"
    same_track = [other for other in board.tables if other.track == table.track]
    why = f"{TRACK_MEANING[table.track].capitalize()}. Tracks are never ranked together."
    if len(same_track) > 1:
        place = same_track.index(table)
        heading += ", newest definitions" if place == 0 else f", other definitions ({place})"
        why += " The definitions differ from those of this track's other tables."
    title = f"{task.title} on {board.subject}"
    return Section(
        table=table,
        heading=heading,
        title=f"{title}, {heading[0].lower()}{heading[1:]}" if len(board.tables) > 1 else title,
        why=why,
        rate_plots=tuple(rate_plots(table)),
        forest=forest_plot(table, records),
        agreement=metric_agreement(table),
        heat_maps=tuple(heat_maps(table, [records[row.name] for row in table.rows])),
    )


def presets(table: Table) -> list[Preset]:
    """Questions that people ask of a table, where its rows can answer them."""
    primary = table.primary
    if primary is None or primary.direction == "none":
        return []
    rates = sorted({row.bits for row in table.rows if row.bits and row.kind != "continuous"})
    found = []
    if rates:
        budget = float(f"{rates[len(rates) // 2]:.2g}")
        budget = budget if budget >= rates[len(rates) // 2] else float(f"{budget * 1.1:.2g}")
        order = {"sort": primary.key}
        found.append(
            Preset(f"best at up to {budget:g} bits/px", urlencode({"bits": f"{budget:g}", **order}))
        )
        for group in table.groups[:1]:
            query = {"bits": f"{budget:g}", "group": group, "use": "commercial", **order}
            text = f"best for {group} at up to {budget:g} bits/px, weights for commercial use"
            found.append(Preset(text, urlencode(query)))
    if any(row.use == "commercial" and row.ranked for row in table.rows):
        found.append(Preset("weights for commercial use", urlencode({"use": "commercial"})))
    if any(row.kind == "discrete" for row in table.rows):
        found.append(Preset("discrete only", urlencode({"kind": "discrete"})))
    return found


def definition_views(records: Iterable[Record]) -> list[DefinitionView]:
    """All definitions that records use, with their facts in words."""
    found: dict[str, tuple[Definition, dict[str, None]]] = {}
    seen: set[tuple[str, str, str]] = set()
    for record in records:
        for metric in record.metrics:
            key = (metric.definition_hash, metric.name, metric.setting)
            if key in seen:
                continue
            seen.add(key)
            definition = record.definitions[metric.definition]
            title = METRICS[metric.name].title
            title = f"{title}, {metric.setting}" if metric.setting else title
            found.setdefault(metric.definition_hash, (definition, {}))[1][title] = None
    views = [
        DefinitionView(d.id, key, "; ".join(titles), tuple(fact_lines(d.facts)))
        for key, (d, titles) in found.items()
    ]
    return sorted(views, key=lambda view: (view.id, view.hash))


def fact_lines(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Facts as terms and texts, nested ones with dotted terms."""
    lines: list[tuple[str, str]] = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            lines += fact_lines(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines.append((f"{prefix}{key}", text))
    return lines
