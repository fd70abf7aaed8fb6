"""Data sets as rows for machines and as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .datasets.available import Presence, download_size, known_cards, presence
from .datasets.card import Card, Role
from .datasets.verify import Verdict
from .sizes import size_text

_GROUPS: dict[Role, str] = {
    "recon": "reconstruction",
    "probe": "linear probe",
    "vqa": "questions about images",
    "synthesis": "synthesis",
    "captions": "captions",
    "collection": "sets of the data-collection paper",
    "training": "training corpora",
}
"""Headings; a set stands under the first of them that it has."""

_LICENCE_WIDTH = 22
_SHOWN_REASONS = 5


def rows(
    data_root: Path | None, *, role: str | None = None, modality: str | None = None
) -> list[dict[str, Any]]:
    """Every card as JSON-able facts, with what of it is on this machine."""
    return [
        _row(card, presence(card, data_root))
        for card in known_cards().values()
        if role in (None, *card.roles) and modality in (None, *card.modalities)
    ]


def _row(card: Card, seen: Presence) -> dict[str, Any]:
    facts = card.model_dump(mode="json")
    return facts | {
        "download_size_bytes": download_size(card),
        "fetched_by_command": bool(card.downloads),
        "state": seen.state,
        "place": str(seen.place) if seen.place else None,
        "files": seen.files,
        "files_are_all_counted": seen.counted,
        "state_detail": seen.detail,
    }


def list_text(found: Sequence[dict[str, Any]], *, role: str | None = None) -> str:
    """The list for people: at most 100 columns, grouped by what the sets are for."""
    from tabulate import tabulate

    parts = []
    for name, heading in _GROUPS.items():
        if role not in (None, name):
            continue
        group = [row for row in found if _group(row, role) == name]
        if group:
            table = tabulate(
                [_cells(row) for row in group],
                headers=["set", "modality", "licence", "access", "size", "here"],
                tablefmt="simple",
                disable_numparse=True,
            )
            parts.append(f"{heading}\n\n{table}")
    loose = [row["id"] for row in found if role is None and _group(row, None) is None]
    if loose:
        parts.append(f"further: {', '.join(loose)}")
    here = sum(row["state"] in {"embedded", "found"} for row in found)
    by_command = sum(row["fetched_by_command"] for row in found)
    parts.append(
        f"sets: {len(found)}; here: {here}; to be fetched by medbench data fetch NAME, which shows "
        f"source,\nlicence and size first: {by_command}; the others are explained by it step by "
        "step. All facts: --json"
    )
    return "\n\n".join(parts)


def _group(row: dict[str, Any], role: str | None) -> str | None:
    if role is not None:
        return role
    return next((name for name in _GROUPS if name in row["roles"]), None)


def _cells(row: dict[str, Any]) -> list[str]:
    modalities = row["modalities"]
    return [
        row["id"],
        modalities[0]
        if len(modalities) == 1
        else f"{len(modalities)} kinds"
        if modalities
        else "–",
        _shortened(row["licence"], _LICENCE_WIDTH),
        row["access"],
        "" if row["download_size_bytes"] is None else size_text(row["download_size_bytes"]),
        "" if row["state"] == "not here" else row["state"],
    ]


def _shortened(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1].rstrip(' ,;(')}…"


def verdict_text(verdicts: Iterable[Verdict], cards: dict[str, Card], *, steps: bool) -> str:
    """Verdicts for people; with `steps`, how to get what is missing."""
    parts = []
    for verdict in verdicts:
        lines = [f"{verdict.id}: {verdict.state}" + (f" ({verdict.place})" * bool(verdict.place))]
        lines += [f"  {finding.level}: {finding.text}" for finding in verdict.findings]
        lines += [f"  unreadable: {reason}" for reason in verdict.unreadable[:_SHOWN_REASONS]]
        more = len(verdict.unreadable) - _SHOWN_REASONS
        if more > 0:
            lines.append(f"  and {more:,} more that cannot be read; all: --json")
        name = verdict.id.partition("@")[0]
        if steps and verdict.state != "ok":
            lines.append(steps_text(cards[name]))
        elif verdict.state != "ok":
            lines.append(f"  how to get it: medbench data verify {name}")
        parts.append("\n".join(lines))
    return "\n".join(parts)


def steps_text(card: Card) -> str:
    """How to get a set, step by step, and what kind of access its owners ask for."""
    meaning = {
        "embedded": "nothing to get",
        "local": "your own files",
        "open": "open: no account",
        "registration": "registration: an account or a form",
        "application": "application: the owners decide",
        "credentialed": "credentialed: training and a signed agreement",
    }
    text = "\n".join(f"    {line}" for line in card.how_to_get.strip().splitlines())
    return f"  how to get it ({meaning[card.access]}; licence: {card.licence}):\n{text}"
