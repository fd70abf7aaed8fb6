"""The bytes of one file over HTTP: ranges, restarts, retries.

Standard library only. A transfer goes on with `Range` where the server still has the same file
(entity tag, date and size as noted), and starts again where it has not or cannot.
"""

from __future__ import annotations

import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

from .. import package_version
from ..errors import MissingPrerequisite, UsageError
from ..progress import track
from .card import Download
from .download_part import Note, Part, check_space

logger = logging.getLogger(__name__)

_BLOCK = 1 << 20
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that another attempt may change."""

_LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """When a transfer is given up."""

    attempts: int = 5
    """In a row without a new byte."""
    first_wait_seconds: float = 1.0
    """Before the second attempt; doubled each time."""
    timeout_seconds: float = 30.0
    """Without an answer."""


class _Interrupted(Exception):
    """The attempt failed, another one may not."""

    def __init__(self, reason: str, *, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


def announced_size(source: Download, *, timeout_seconds: float = 10.0) -> int | None:
    """Size by the card, else as the server announces it; None where it does not say."""
    if source.size_bytes is not None:
        return source.size_bytes
    try:
        with _open(source.url, {}, timeout_seconds, method="HEAD") as answer:
            return _length(answer.headers)
    except (OSError, http.client.HTTPException):
        return None


def transfer(source: Download, part: Part, patience: Patience, *, strict: bool = True) -> int:
    """Complete the part; returns the bytes that came over the network.

    Args:
        source: where the file is.
        part: the file exists, perhaps empty.
        patience: when to give up.
        strict: refuse a file whose announced size is not the card's.

    Raises:
        MissingPrerequisite: refused by the server, or given up; what has come is kept.
        UsageError: another size than the card's, or no space.
    """
    failures, received, best = 0, 0, part.received()
    while True:
        try:
            for count in _attempt(source, part, patience.timeout_seconds, strict=strict):
                received += count
            return received
        except _Interrupted as error:
            failures = 1 if part.received() > best else failures + 1
            best = max(best, part.received())
            if failures >= patience.attempts:
                message = (
                    f"{source.url}: given up after {failures} attempts: {error}. "
                    f"{part.received():,} bytes are kept; run the same command again to go on"
                )
                raise MissingPrerequisite(message) from error
            wait = patience.first_wait_seconds * 2 ** (failures - 1)
            wait = min(max(wait, error.wait_seconds or 0), _LONGEST_WAIT_SECONDS)
            logger.info("%s: %s; again in %.0f s", source.filename, error, wait)
            time.sleep(wait)


def _attempt(
    source: Download, part: Part, timeout_seconds: float, *, strict: bool
) -> Iterator[int]:
    """One request; yields the number of bytes of each block that is on disk."""
    note, have = part.note(), part.received()
    if have and (note is None or note.url != source.url):
        part.restart()
        have = 0
    if note is not None and have and have == note.size:
        return
    headers = _range_headers(have, note) if note is not None and have else {}
    try:
        with _open(source.url, headers, timeout_seconds) as answer:
            start = _begin(source, part, answer, have, strict=strict)
            total = _total(answer, start)
            for block in _blocks(answer, source.filename, start, total):
                _append(part.path, block)
                yield len(block)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refusal(source, part, error) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        message = f"no connection ({reason})"
        raise _Interrupted(message) from error
    except http.client.HTTPException as error:
        message = f"the connection broke ({type(error).__name__})"
        raise _Interrupted(message) from error
    if total is not None and part.received() < total:
        message = f"the connection broke after {part.received():,} of {total:,} bytes"
        raise _Interrupted(message)
    if total is None and source.md5 is None and source.sha256 is None:
        logger.warning(
            "%s: neither the server nor the card says how long the file is or what its checksum "
            "is: whether it is complete cannot be known",
            source.filename,
        )


def _open(
    url: str, headers: dict[str, str], timeout_seconds: float, *, method: str = "GET"
) -> http.client.HTTPResponse:
    if urlsplit(url).scheme not in {"http", "https"}:
        message = f"{url!r}: only http and https addresses are downloaded; the card is wrong"
        raise UsageError(message)
    agent = {"User-Agent": f"medbench/{package_version()}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(url, headers=agent | headers, method=method)  # noqa: S310
    return urllib.request.build_opener(_NoDowngrade).open(request, timeout=timeout_seconds)


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but not from https to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            message = f"{req.full_url} redirects to {newurl}, which is not encrypted: refused"
            raise MissingPrerequisite(message)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _range_headers(have: int, note: Note) -> dict[str, str]:
    strong = note.etag if note.etag and not note.etag.startswith("W/") else None
    condition = strong or note.modified
    headers = {"Range": f"bytes={have}-"}
    return headers | {"If-Range": condition} if condition else headers


def _begin(
    source: Download, part: Part, answer: http.client.HTTPResponse, have: int, *, strict: bool
) -> int:
    """Where the answer's first byte belongs; the part and its note are made to fit."""
    kind = answer.headers.get_content_type()
    if kind == "text/html" and not source.filename.lower().endswith((".html", ".htm")):
        message = (
            f"{source.url} answers with a web page instead of {source.filename}: perhaps a login, "
            "a form or a notice that the file has moved. Open it in a browser."
        )
        raise MissingPrerequisite(message)
    old = part.note()
    new = Note(
        source.url,
        answer.headers.get("ETag"),
        answer.headers.get("Last-Modified"),
        _total(answer, have if answer.status == http.HTTPStatus.PARTIAL_CONTENT else 0),
    )
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        if _first_byte(answer.headers) != have or old is None or not new.agrees(old):
            part.restart()
            message = "the server has another file by now; starting again"
            raise _Interrupted(message)
        start = have
    else:
        if have:
            logger.info("%s: cannot be resumed; starting again", source.filename)
        part.restart(new)
        start = 0
    if strict and source.size_bytes is not None and new.size not in (None, source.size_bytes):
        part.restart()
        message = (
            f"{source.url}: the server offers {new.size:,} bytes, the card says "
            f"{source.size_bytes:,}: the owners have changed their file. Nothing was fetched; "
            "--allow-modified takes it as it is."
        )
        raise UsageError(message)
    check_space(part.path.parent, (new.size or 0) - start, what=source.filename)
    return start


def _length(headers: Message) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _first_byte(headers: Message) -> int | None:
    found = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return int(found.group(1)) if found else None


def _total(answer: http.client.HTTPResponse, start: int) -> int | None:
    """Length of the whole file, of which the answer holds the bytes from `start` on."""
    length = _length(answer.headers)
    return None if length is None else start + length


def _blocks(
    answer: http.client.HTTPResponse, name: str, start: int, total: int | None
) -> Iterator[bytes]:
    blocks = iter(lambda: answer.read(_BLOCK), b"")
    if total is None:
        return blocks
    whole = -(-total // _BLOCK)
    return track(blocks, total=whole, label=f"{name} (MiB)", done=start // _BLOCK)


def _append(path: Path, block: bytes) -> None:
    """Add a block to the file.

    Raises:
        UsageError: it cannot be written; what is there is kept.
    """
    try:
        with path.open("ab") as file:
            file.write(block)
    except OSError as error:
        message = (
            f"cannot write {path}: {error.strerror or error}. Free space and run the same command "
            "again: what has come is kept"
        )
        raise UsageError(message) from error


def _refusal(source: Download, part: Part, error: urllib.error.HTTPError) -> Exception:
    """What an HTTP error means: to be tried again, or final."""
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.restart()
        return _Interrupted("the server has a shorter file by now; starting again")
    if error.code in _PASSING:
        after = error.headers.get("Retry-After", "")
        wait = float(after) if after.isdigit() else None
        return _Interrupted(f"the server answers {error.code} {error.reason}", wait_seconds=wait)
    means = {
        401: "an account is needed",
        403: "access is refused: an account, an agreement or another address may be needed",
        404: "there is no such file: the owners have moved or withdrawn it",
        410: "the owners have withdrawn the file",
    }
    meaning = means.get(error.code, "this will not change by trying again")
    return MissingPrerequisite(
        f"{source.url}: the server answers {error.code} {error.reason}; {meaning}. "
        "The steps of the card (medbench data fetch shows them) tell how to get it by hand."
    )
