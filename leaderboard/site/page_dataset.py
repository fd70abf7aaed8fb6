"""A dataset's page: its card, and who does best and worst on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...harness.datasets.card import Card, packaged_cards
from .catalogue import main_table
from .page_board import dataset_facts
from .page_index import Excerpt, excerpt
from .render import Site
from .views import Board, Row


@dataclass(frozen=True, slots=True)
class Difficulty:
    """The spread of the ranked rows in a board's primary metric."""

    board: Board
    metric: str
    best: Row
    worst: Row


def write_dataset(site: Site, boards: Sequence[Board]) -> None:
    """Write `dataset/<name>.html` for the boards of one dataset."""
    facts = boards[0].facts
    card = dataset_card(facts.id)
    tables: list[Excerpt] = [excerpt(board, 0) for board in boards]
    site.page(
        f"dataset/{boards[0].dataset}.html",
        "dataset.html",
        id=facts.id,
        card=card,
        card_facts=_card_facts(card) if card else [],
        facts=[(board, dataset_facts(board.facts)) for board in boards],
        licence=facts.licence,
        publish=facts.pixels == "publish",
        difficulties=[made for board in boards if (made := difficulty(board)) is not None],
        excerpts=tables,
    )


def dataset_card(dataset_id: str) -> Card | None:
    """The packaged card of a dataset id such as `breastmnist@224`."""
    return packaged_cards().get(dataset_id.partition("@")[0])


def difficulty(board: Board) -> Difficulty | None:
    """First and last ranked row; None with fewer than two."""
    table = main_table(board)
    if len(table.ranked) < 2 or table.primary is None:
        return None
    return Difficulty(board, table.primary.title, table.ranked[0], table.ranked[-1])


def _card_facts(card: Card) -> list[tuple[str, str]]:
    splits = ", ".join(
        f"{name} {'unknown' if n is None else f'{n:,}'}" for name, n in card.splits.items()
    )
    return [
        ("Title", card.title),
        ("Source", card.source),
        ("Licence", card.licence),
        ("Access", card.access),
        ("Citation", card.citation or "none given"),
        ("Modalities", ", ".join(card.modalities) or "not stated"),
        ("Native size", card.native_size),
        ("Bit depth", card.bit_depth),
        ("Splits", splits or "not stated"),
        ("Patients by", card.patient_key or "unknown"),
        ("Layout", card.layout),
        ("How to get it", card.how_to_get),
    ]
