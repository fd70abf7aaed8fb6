"""A tokenizer's page: its card, every result with its interval, its history and commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...harness.errors import MedbenchError
from ...harness.model_card import ModelCard, read_model_card
from ...harness.tokenizer_registry import tokenizer_entries
from .catalogue import Catalogue
from .cells import Value
from .columns import ColumnView
from .gallery import Picture
from .plot_history import history_plot
from .plot_rate import Plot
from .render import Site
from .tasks import TaskText, task_text
from .views import Board, Row, Table

_MOST_HISTORIES = 6


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the tokenizer's results."""

    board: Board
    table: Table
    row: Row
    current: bool
    """False for a record that a newer one of the same board replaces."""

    def in_columns(self, columns: Sequence[ColumnView]) -> Line:
        """Its cells in the order of the columns of several tables."""
        own = dict(zip((c.key for c in self.table.columns), self.row.cells, strict=True))
        return Line(self, tuple(own.get(column.key) for column in columns))


@dataclass(frozen=True, slots=True)
class Line:
    """A result beside others of its task; None where its table lacks a column."""

    result: Result
    cells: tuple[Value | None, ...]


@dataclass(frozen=True, slots=True)
class TaskResults:
    """A task's results, with the columns that their tables have in common order."""

    task: TaskText
    columns: tuple[ColumnView, ...]
    lines: tuple[Line, ...]


def write_tokenizer(site: Site, catalogue: Catalogue, name: str, results: Sequence[Result]) -> None:
    """Write `tokenizer/<name>.html`."""
    newest = max(results, key=lambda result: result.row.created)
    card = model_card(name)
    current = [result for result in results if result.current]
    site.page(
        f"tokenizer/{newest.row.tokenizer}.html",
        "tokenizer.html",
        name=name,
        row=newest.row,
        card=card,
        card_facts=_card_facts(card, name) if card else [],
        facts=_facts(newest.row, _speed([result.row for result in results])),
        tasks=sorted(_by_task(current), key=lambda g: catalogue.tasks.index(g.task.name)),
        history=sorted(results, key=lambda r: (r.row.created, r.row.run), reverse=True),
        pictures=_pictures(catalogue, current),
        plots=_histories(results),
    )


def results_by_tokenizer(catalogue: Catalogue) -> dict[str, list[Result]]:
    """Every result, earlier ones too, by the tokenizer's full name; sorted."""
    found: dict[str, list[Result]] = {}
    for board, table, row in catalogue.rows():
        found.setdefault(row.name, []).append(Result(board, table, row, current=True))
    for board in catalogue.boards:
        for table in board.tables:
            for row in table.superseded:
                results = found.setdefault(row.name, [])
                if all(row.run != other.row.run for other in results):
                    results.append(Result(board, table, row, current=False))
    return dict(sorted(found.items()))


def model_card(name: str) -> ModelCard | None:
    """The card of a registered tokenizer, if it has one."""
    entry = tokenizer_entries().get(name.partition("@")[0])
    if entry is None or entry.card is None:
        return None
    try:
        return read_model_card(entry.card)
    except MedbenchError:
        return None


def _card_facts(card: ModelCard, name: str) -> list[tuple[str, str]]:
    pairs = [
        ("Paper", card.paper),
        ("Paper's address", card.paper_url),
        ("Code", f"{card.code.url} at {card.code.commit}, licence: {card.code.licence}"),
        ("Made for", card.coverage),
        ("Intensities", card.intensity),
        ("Authors' preprocessing", card.upstream_preprocessing),
    ]
    variant = card.variants.get(name.partition("@")[2])
    if variant is not None:
        pairs += [("Weights", variant.place), ("Trained on", variant.training)]
    return pairs


def _facts(row: Row, speed: str) -> list[tuple[str, str]]:
    info = row.info
    size = f"{info.codebook_size:,}" if info.codebook_size else "none"
    return [
        ("Kind", info.kind),
        ("Bits per pixel", row.bits_text),
        ("Tokens", f"{row.tokens} of {size} entries" if row.tokens else "none"),
        ("Parameters", f"{info.parameters:,}" if info.parameters else "none"),
        ("Downsampling", f"{info.downsample} pixels a cell" if info.downsample > 1 else "none"),
        ("Speed", speed),
        ("Colour", info.colour),
        ("Modalities", ", ".join(info.modalities) or "all"),
        ("Training data", info.training_data),
        ("Licence of the weights", f"{info.weights_licence} ({row.use} use)"),
        ("Licence of the code", info.code_licence),
        ("Weights SHA-256", info.weights_sha256 or "no weights file"),
        ("Source", info.source or "not stated"),
        *((f"Cannot {ability}", reason) for ability, reason in info.cannot.items()),
    ]


def _speed(rows: Sequence[Row]) -> str:
    """Of the newest record that was timed."""
    timed = [row for row in rows if row.speed != "–"]
    if not timed:
        return "not measured"
    newest = max(timed, key=lambda row: (row.created, row.run))
    return f"{newest.speed} images/s on {newest.device} ({newest.task} on {newest.dataset})"


def _by_task(results: Sequence[Result]) -> list[TaskResults]:
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.board.task, []).append(result)
    made = []
    for task, members in found.items():
        columns: dict[str, ColumnView] = {}
        for result in members:
            for column in result.table.columns:
                columns.setdefault(column.key, column)
        shown = tuple(columns.values())
        lines = tuple(result.in_columns(shown) for result in members)
        made.append(TaskResults(task_text(task), shown, lines))
    return made


def _histories(results: Sequence[Result]) -> list[Plot]:
    """A plot for each table that holds several records of the tokenizer, at most a few."""
    tables: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        tables.setdefault((result.board.name, result.table.id), []).append(result)
    several = sorted(tables.values(), key=lambda held: -len(held))
    plots = (
        history_plot(held[0].board, held[0].table, [result.row for result in held])
        for held in several
        if len(held) > 1
    )
    return [plot for plot in plots if plot is not None][:_MOST_HISTORIES]


def _pictures(catalogue: Catalogue, results: Sequence[Result]) -> list[tuple[Result, Picture]]:
    """A few pictures of the newest board that has some."""
    for result in results:
        pictures = catalogue.pictures.get(result.row.run, ())
        if pictures:
            return [(result, picture) for picture in pictures]
    return []
