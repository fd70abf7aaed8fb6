"""What published weights were when this machine first used them, and held to from then on.

One JSON file in the weights root. A file whose SHA-256 the catalogue pins needs no entry; any
other is recorded on first use, and a later change of content is refused until it is accepted.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from .documents import load_json
from .entries import HubFile
from .errors import UsageError
from .file_hashes import file_sha256
from .files import write_json
from .locations import weights_root
from .passing import run_again_if_passing
from .weights_shards import weights_sha256

_LOG = logging.getLogger(__name__)
_FILE = "weights.lock.json"


@dataclass(frozen=True, slots=True)
class Locked:
    """One published file as it was first used."""

    sha256: str
    converted_sha256: str | None = None
    """Of the safetensors file that `weights fetch` made of it."""


def key_of(source: HubFile) -> str:
    """The name under which a published file is recorded."""
    return f"{source.repository}/{source.filename}@{source.revision}"


def locked(source: HubFile) -> Locked | None:
    """What is recorded of a published file."""
    return _read().get(key_of(source))


def hold(source: HubFile, path: Path) -> str:
    """Compare a file with the pinned or recorded content, and record it on first use.

    Returns:
        Its SHA-256.

    Raises:
        UsageError: it is another content.
    """
    found = file_sha256(path)
    entry = locked(source)
    expected = source.sha256 or (entry.sha256 if entry else None)
    if expected is None:
        _write(source, Locked(found))
    elif found != expected:
        since = "" if source.sha256 else " when it was first used here"
        again = (
            ""
            if source.sha256
            else f", or accept it by deleting its line in {weights_root() / _FILE}"
        )
        message = (
            f"{path} is damaged or another file: its SHA-256 is {found[:16]}…, "
            f"expected {expected[:16]}…{since}. Delete it and fetch it again{again}."
        )
        raise UsageError(message)
    return found


def record_conversion(source: HubFile, original: Path, converted: Path) -> None:
    """Remember that `converted` holds the tensors of `original`."""
    _write(source, Locked(file_sha256(original), file_sha256(converted)))


def original_sha256(path: Path) -> str:
    """SHA-256 of weights, or of the published file that they were converted from.

    A conversion changes the file and not the weights, so records keep the published hash. Weights
    in several files have the hash of all of them.

    Raises:
        UsageError: a folder without an index, an index that is none, or missing shards.
    """
    found = weights_sha256(path)
    for entry in _read().values():
        if entry.converted_sha256 == found:
            return entry.sha256
    return found


def _read() -> dict[str, Locked]:
    path = weights_root() / _FILE
    if not path.is_file():
        return {}
    try:
        return {key: Locked(**entry) for key, entry in load_json(path).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        run_again_if_passing(error, path)
        message = f"{path} is damaged ({error}). Delete it; weights are then recorded anew."
        raise UsageError(message) from error


def _write(source: HubFile, entry: Locked) -> None:
    entries = {**_read(), key_of(source): entry}
    path = weights_root() / _FILE
    try:
        write_json(path, {key: asdict(each) for key, each in sorted(entries.items())})
    except UsageError as error:
        # A shared, read-only weights folder is usual on clusters; the weights are still usable.
        _LOG.warning("the weights' hash could not be recorded: %s", error)
