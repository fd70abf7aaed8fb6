"""`medbench data`: which data sets there are, how to get them, and whether they are right."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import ExitCode, MissingPrerequisite
from .registry import unknown
from .vocabulary import MODALITIES

if TYPE_CHECKING:
    from .datasets.available import Chosen
    from .datasets.card import Download

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]
DataRoot = Annotated[
    Path | None,
    typer.Option("--data-root", help="Where data sets lie; overrides MEDBENCH_DATA."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Refuse any network use.")]


class Purpose(StrEnum):
    """What a set is used for, as cards say."""

    RECON = "recon"
    PROBE = "probe"
    SYNTHESIS = "synthesis"
    VQA = "vqa"
    TRAINING = "training"
    CAPTIONS = "captions"
    COLLECTION = "collection"


def register(app: typer.Typer) -> None:
    """Add the sub-commands to the command line."""
    from .audit import cli as audit
    from .curation import cli as curation

    data = typer.Typer(help="Data sets: list, fetch, verify, curate, audit.", no_args_is_help=True)
    data.command("list")(list_sets)
    data.command()(fetch)
    data.command()(verify)
    curation.register(data)
    audit.register(data)
    app.add_typer(data, name="data")


def list_sets(
    role: Annotated[Purpose | None, typer.Option("--role", help="Only sets used for it.")] = None,
    modality: Annotated[str | None, typer.Option("--modality", help="Only sets of it.")] = None,
    data_root: DataRoot = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """List data sets: licence, access, download size, and what is on this machine."""
    _prepare(offline)
    from .data_tables import list_text, rows

    if modality not in (None, *MODALITIES):
        raise unknown("modality", modality, MODALITIES, listing=", ".join(MODALITIES))
    purpose = role.value if role else None
    found = rows(_root(data_root), role=purpose, modality=modality)
    typer.echo(json.dumps(found, indent=1) if as_json else list_text(found, role=purpose))


def fetch(
    name: Annotated[str, typer.Argument(help="NAME or NAME@SIZE, as `data list` prints it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    allow_modified: Annotated[
        bool, typer.Option("--allow-modified", help="Take files that have not the card's checksum.")
    ] = False,
    data_root: DataRoot = None,
    offline: Annotated[bool, typer.Option("--offline", help="Refuse: nothing is fetched.")] = False,
) -> None:
    """Download a data set; source, licence, size and files are shown first.

    An interrupted download goes on where it was. Sets that their owners give out in another way
    are explained step by step (exit code 3).
    """
    _prepare(offline)
    from .data_tables import steps_text
    from .datasets.available import choose, downloads_of, folder_name

    chosen = choose(name)
    card = chosen.card
    typer.echo(f"{card.id}: {card.title}\nsource: {card.source}\nlicence: {card.licence}")
    if card.access == "embedded":
        typer.echo("embedded in medbench or its dependencies: nothing to fetch")
        return
    files = downloads_of(chosen)
    if not files:
        typer.echo(steps_text(card))
        message = f"{card.id} cannot be fetched by a command; the steps above lead to it"
        raise MissingPrerequisite(message)
    folder = _needed_root(data_root) / folder_name(card)
    if offline:
        listed = "\n".join(f"  {each.url}" for each in files)
        message = (
            f"{name}: --offline was given, so nothing is fetched. On a machine with a connection "
            f"download\n{listed}\nand place it in {folder}"
        )
        raise MissingPrerequisite(message)
    _fetch_files(chosen, files, folder, yes=yes, allow_modified=allow_modified)


def _fetch_files(
    chosen: Chosen, files: list[Download], folder: Path, *, yes: bool, allow_modified: bool
) -> None:
    from .confirming import confirm
    from .datasets.download import fetch_file, place_of
    from .datasets.download_part import check_space
    from .datasets.transfer import announced_size
    from .sizes import size_text

    absent = [each for each in files if not place_of(each, folder).exists()]
    sizes = {each.url: announced_size(each) for each in absent}
    for each in files:
        checksum = "sha256" if each.sha256 else "md5" if each.md5 else "no checksum known"
        here = "already here" if each.url not in sizes else f"{size_text(sizes[each.url])}"
        typer.echo(f"file: {each.filename} ({here}; {checksum})\n  {each.url}")
    typer.echo(f"into: {folder}")
    if absent:
        known = sum(size or 0 for size in sizes.values())
        check_space(folder, known, what=chosen.card.id)
        confirm(f"Download {len(absent)} file(s), {size_text(known or None)}?", yes=yes)
    for each in files:
        fetched = fetch_file(each, folder, allow_modified=allow_modified)
        how = size_text(fetched.received_bytes) + " received" if fetched.received_bytes else "here"
        typer.echo(f"{fetched.path}: {how}")
        if fetched.problem:
            typer.echo(f"not the file of the card, taken as asked: {fetched.problem}", err=True)
    if any(each.filename.endswith((".zip", ".tar", ".gz", ".tgz", ".7z")) for each in files):
        typer.echo("Archives are left as they are; what to do with them:")
        typer.echo(chosen.card.how_to_get.strip())
    typer.echo(f"check with: medbench data verify {chosen.card.id}")


def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Sets; without them, all that are on this machine.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every image.")] = False,
    allow_modified: Annotated[
        bool, typer.Option("--allow-modified", help="Look into files that are not the owners' own.")
    ] = False,
    data_root: DataRoot = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Say what is found, what is missing and what is wrong, and how to get it.

    Exit code 0: all is well; 1: something is wrong; 3: a set that was named is missing.
    """
    _prepare(offline)
    from dataclasses import asdict

    from .data_tables import verdict_text
    from .datasets.available import choose, known_cards
    from .datasets.official import allow_modified as allow
    from .datasets.verify import verify as check

    if allow_modified:
        allow()
    cards = known_cards()
    root = _root(data_root)
    chosen = [choose(each) for each in names] if names else _present(root)
    if not chosen:
        where = root or "this machine (MEDBENCH_DATA is not set)"
        typer.echo("[]" if as_json else f"no data set was found on {where}; medbench data list")
        return
    verdicts = [check(each, root, deep=deep) for each in chosen]
    if as_json:
        facts = [asdict(verdict) | {"state": verdict.state} for verdict in verdicts]
        typer.echo(json.dumps(facts, indent=1))
    else:
        typer.echo(verdict_text(verdicts, cards, steps=bool(names)))
    states = {verdict.state for verdict in verdicts}
    if "wrong" in states:
        raise typer.Exit(int(ExitCode.FAILED_CHECK))
    if names and states & {"missing", "partly"}:
        raise typer.Exit(int(ExitCode.MISSING_PREREQUISITE))


def _present(data_root: Path | None) -> list[Chosen]:
    from .datasets.available import Chosen, known_cards, presence

    return [
        Chosen(card)
        for card in known_cards().values()
        if presence(card, data_root).state in {"found", "partly"}
    ]


def _prepare(offline: bool) -> None:
    if offline:
        from .offline import block_network

        block_network()


def _root(given: Path | None) -> Path | None:
    from .locations import data_root

    if given is not None and not given.is_dir():
        message = f"--data-root {given} is not a directory"
        raise MissingPrerequisite(message)
    return given or data_root()


def _needed_root(given: Path | None) -> Path:
    root = _root(given)
    if root is None:
        message = (
            "no place to put data: set MEDBENCH_DATA to a folder for data sets (make it first), or "
            "pass --data-root DIR"
        )
        raise MissingPrerequisite(message)
    return root
