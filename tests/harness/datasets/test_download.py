"""Downloads against a server on this machine that behaves badly on request."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import resource
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from medbench.harness.datasets import download_part, transfer
from medbench.harness.datasets.card import Download
from medbench.harness.datasets.download import fetch_file
from medbench.harness.datasets.transfer import Patience, announced_size
from medbench.harness.errors import MissingPrerequisite, UsageError, ValidationFailed

CONTENT = np.random.default_rng(3).bytes(5 * (1 << 20) + 123)
"""Five blocks and a bit."""

QUICK = Patience(attempts=3, first_wait_seconds=0.0, timeout_seconds=5.0)


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    content: bytes = CONTENT
    etag: str | None = '"one"'
    ranges: bool = True
    length: bool = True
    kind: str = "application/octet-stream"
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the next connections break."""
    statuses: list[int] = field(default_factory=list)
    """Answers of the next requests instead of the file."""
    location: str | None = None
    retry_after: str | None = None
    pause: threading.Event | None = None
    """After the first two blocks, until it is set."""
    seen: list[str | None] = field(default_factory=list)
    """The Range header of each GET."""


class Handler(BaseHTTPRequestHandler):
    """Serves one file as `behaviour` says."""

    behaviour: Behaviour

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._headers(200, len(self.behaviour.content))

    def do_GET(self):
        asked = self.headers.get("Range")
        self.behaviour.seen.append(asked)
        if self.behaviour.statuses:
            self._refuse(self.behaviour.statuses.pop(0))
            return
        start = 0
        condition = self.headers.get("If-Range")
        if asked and self.behaviour.ranges and condition in (None, self.behaviour.etag):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start > len(self.behaviour.content):
            self._headers(416, 0)
            return
        body = self.behaviour.content[start:]
        self._headers(206 if start else 200, len(body), start)
        with contextlib.suppress(ConnectionError):  # the client may have had enough
            self._send(body)
        self.close_connection = True

    def _send(self, body):
        cuts = self.behaviour.cuts
        if self.behaviour.pause:
            self.wfile.write(body[: 2 << 20])
            self.behaviour.pause.wait(60)
            body = body[2 << 20 :]
        self.wfile.write(body[: cuts.pop(0)] if cuts else body)

    def _refuse(self, status):
        self.send_response(status)
        if self.behaviour.location:
            self.send_header("Location", self.behaviour.location)
        if self.behaviour.retry_after:
            self.send_header("Retry-After", self.behaviour.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _headers(self, status, length, start=0):
        self.send_response(status)
        self.send_header("Content-Type", self.behaviour.kind)
        if self.behaviour.length:
            self.send_header("Content-Length", str(length))
        if self.behaviour.etag:
            self.send_header("ETag", self.behaviour.etag)
        if start:
            total = len(self.behaviour.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def source(behaviour, monkeypatch) -> Iterator[Download]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("Bound", (Handler,), {"behaviour": behaviour})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Download(
        url=f"http://127.0.0.1:{server.server_port}/set.zip",
        filename="set.zip",
        size_bytes=len(CONTENT),
        md5=hashlib.md5(CONTENT).hexdigest(),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def bare(source: Download) -> Download:
    """The same file by a card that knows neither size nor checksums."""
    return source.model_copy(update={"size_bytes": None, "md5": None, "sha256": None})


def broken_off(source, behaviour, folder, *, after: int) -> None:
    """Leave a part of `after` bytes, as a killed or disconnected download does."""
    behaviour.cuts[:] = [after]
    with pytest.raises(MissingPrerequisite, match="the connection broke after"):
        fetch_file(source, folder, patience=Patience(attempts=1))
    behaviour.seen.clear()


def test_a_file_arrives_whole_and_alone(source, tmp_path):
    fetched = fetch_file(source, tmp_path / "new" / "folder", patience=QUICK)
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.received_bytes, fetched.kept_bytes) == (len(CONTENT), 0)
    assert names(fetched.path.parent) == ["set.zip"]


def test_a_broken_connection_is_taken_up_where_it_broke(source, behaviour, tmp_path):
    behaviour.cuts[:] = [1 << 21, 1 << 20]
    fetched = fetch_file(source, tmp_path, patience=QUICK)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.received_bytes == len(CONTENT)
    assert behaviour.seen == [None, f"bytes={1 << 21}-", f"bytes={3 << 20}-"]


def test_a_later_command_goes_on_with_the_part(source, behaviour, tmp_path):
    broken_off(source, behaviour, tmp_path, after=3 << 20)
    assert names(tmp_path) == [".set.zip.part", ".set.zip.part.json"]
    fetched = fetch_file(source, tmp_path, patience=QUICK)
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.received_bytes, fetched.kept_bytes) == (len(CONTENT) - (3 << 20), 3 << 20)
    assert behaviour.seen == [f"bytes={3 << 20}-"]
    assert names(tmp_path) == ["set.zip"]


def test_a_part_that_is_complete_needs_no_network(source, behaviour, tmp_path):
    broken_off(source, behaviour, tmp_path, after=3 << 20)
    with (tmp_path / ".set.zip.part").open("ab") as file:
        file.write(CONTENT[3 << 20 :])
    assert fetch_file(source, tmp_path, patience=QUICK).received_bytes == 0
    assert behaviour.seen == []


def test_a_server_without_ranges_starts_again(source, behaviour, tmp_path):
    behaviour.ranges = False
    broken_off(source, behaviour, tmp_path, after=1 << 20)
    fetched = fetch_file(source, tmp_path, patience=QUICK)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.received_bytes == len(CONTENT)


@pytest.mark.parametrize("etag", ['"two"', None], ids=["other tag", "other size only"])
def test_a_file_that_changed_meanwhile_starts_again(source, behaviour, tmp_path, etag):
    if etag is None:
        behaviour.etag = None
    source = bare(source)
    broken_off(source, behaviour, tmp_path, after=1 << 20)
    behaviour.etag, behaviour.content = etag, CONTENT[::-1] + b"more"
    fetched = fetch_file(source, tmp_path, patience=QUICK)
    assert fetched.path.read_bytes() == CONTENT[::-1] + b"more"


def test_a_file_that_became_shorter_than_the_part_starts_again(source, behaviour, tmp_path):
    behaviour.etag = None
    source = bare(source)
    broken_off(source, behaviour, tmp_path, after=3 << 20)
    behaviour.content = CONTENT[:1000]
    assert fetch_file(source, tmp_path, patience=QUICK).path.read_bytes() == CONTENT[:1000]


def test_a_part_of_another_address_is_dropped(source, behaviour, tmp_path):
    (tmp_path / ".set.zip.part").write_bytes(b"something else")
    assert fetch_file(source, tmp_path, patience=QUICK).path.read_bytes() == CONTENT
    assert behaviour.seen == [None]


@pytest.mark.parametrize("known", [{"md5": None}, {"sha256": None}], ids=["sha256", "md5"])
def test_wrong_content_never_gets_the_name(source, behaviour, tmp_path, known):
    behaviour.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(ValidationFailed, match="not the file of the card: its (md5|sha256) is"):
        fetch_file(source.model_copy(update=known), tmp_path, patience=QUICK)
    assert names(tmp_path) == ["set.zip.rejected"]


def test_wrong_content_is_taken_and_named_where_that_is_allowed(source, behaviour, tmp_path):
    behaviour.content = b"x" * 1000
    fetched = fetch_file(source, tmp_path, allow_modified=True, patience=QUICK)
    assert fetched.path.read_bytes() == behaviour.content
    assert fetched.problem is not None
    assert "1,000 bytes" in fetched.problem


def test_another_size_is_refused_before_the_first_byte(source, behaviour, tmp_path):
    behaviour.content = CONTENT + b"x"
    with pytest.raises(UsageError, match="the owners have changed their file"):
        fetch_file(source, tmp_path, patience=QUICK)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "no such file"), (403, "access is refused"), (401, "account"), (410, "withdrawn")],
)
def test_a_final_refusal_is_said_at_once(source, behaviour, tmp_path, status, message):
    behaviour.statuses[:] = [status]
    with pytest.raises(MissingPrerequisite, match=f"(?s){status}.*{message}"):
        fetch_file(source, tmp_path, patience=QUICK)
    assert len(behaviour.seen) == 1
    assert names(tmp_path) == []


def test_a_passing_refusal_is_tried_again(source, behaviour, tmp_path, caplog):
    behaviour.statuses[:] = [503, 429]
    with caplog.at_level(logging.INFO):
        assert fetch_file(source, tmp_path, patience=QUICK).path.read_bytes() == CONTENT
    assert "503" in caplog.text


def test_the_server_says_how_long_to_wait(source, behaviour, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    behaviour.statuses[:] = [429, 503]
    behaviour.retry_after = "7"
    fetch_file(source, tmp_path, patience=Patience(attempts=3, first_wait_seconds=4.0))
    assert waits == [7.0, 8.0]


def test_a_killed_download_goes_on_in_the_next_process(source, behaviour, tmp_path):
    behaviour.pause = threading.Event()
    code = (
        "import sys; from pathlib import Path\n"
        "from medbench.harness.datasets.card import Download\n"
        "from medbench.harness.datasets.download import fetch_file\n"
        "fetch_file(Download.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, source.model_dump_json(), str(tmp_path)]
    )
    part = tmp_path / ".set.zip.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size == 2 << 20):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    behaviour.pause.set()
    assert names(tmp_path) == [".set.zip.part", ".set.zip.part.json"]
    behaviour.pause = None
    fetched = fetch_file(source, tmp_path, patience=QUICK)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.kept_bytes == 2 << 20


def test_a_server_that_stays_away_is_given_up_with_the_part_kept(source, behaviour, tmp_path):
    broken_off(source, behaviour, tmp_path, after=1 << 20)
    behaviour.statuses[:] = [503] * 9
    with pytest.raises(MissingPrerequisite, match=r"after 3 attempts.*1,048,576 bytes are kept"):
        fetch_file(source, tmp_path, patience=QUICK)
    assert len(behaviour.seen) == 3


def test_nobody_listening_is_a_missing_prerequisite(tmp_path):
    source = Download(url="http://127.0.0.1:9/x.zip", filename="x.zip")
    with pytest.raises(MissingPrerequisite, match="no connection"):
        fetch_file(source, tmp_path, patience=QUICK)
    assert names(tmp_path) == []


def test_a_login_page_is_not_a_data_set(source, behaviour, tmp_path):
    behaviour.kind = "text/html; charset=utf-8"
    with pytest.raises(MissingPrerequisite, match="a web page instead of set.zip"):
        fetch_file(bare(source), tmp_path, patience=QUICK)
    assert names(tmp_path) == []


def test_an_unknown_length_without_checksum_is_said(source, behaviour, tmp_path, caplog):
    behaviour.length = False
    fetch_file(bare(source), tmp_path, patience=QUICK)
    assert "whether it is complete cannot be known" in caplog.text


def test_a_full_disk_is_seen_before_the_first_byte(source, behaviour, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download_part.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match=r"set.zip needs 0.005 GB more"):
        fetch_file(source, tmp_path, patience=QUICK)
    assert not (tmp_path / "set.zip").exists()


def test_a_disk_that_fills_up_keeps_what_has_come(source, tmp_path):
    """The kernel refuses to let any file grow beyond three blocks: a true failing write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, hard))
    try:
        with pytest.raises(UsageError, match="cannot write .*what has come is kept"):
            fetch_file(source, tmp_path, patience=QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == [".set.zip.part", ".set.zip.part.json"]
    fetched = fetch_file(source, tmp_path, patience=QUICK)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.kept_bytes == 3 << 20


def test_no_space_left_names_the_reason(source, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("medbench.harness.datasets.download._give_name", full)
    with pytest.raises(UsageError, match="No space left on device"):
        fetch_file(source, tmp_path, patience=QUICK)
    assert not (tmp_path / "set.zip").exists()


def test_a_file_that_is_there_is_checked_and_not_fetched(source, behaviour, tmp_path):
    (tmp_path / "set.zip").write_bytes(CONTENT)
    assert fetch_file(source, tmp_path, patience=QUICK).received_bytes == 0
    (tmp_path / "set.zip").write_bytes(CONTENT[::-1])
    with pytest.raises(ValidationFailed, match=r"is there already, but its sha256 is .* Move it"):
        fetch_file(source, tmp_path, patience=QUICK)
    assert (tmp_path / "set.zip").read_bytes() == CONTENT[::-1]
    assert behaviour.seen == []


def test_two_downloads_of_one_file_do_not_mix(source, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / ".set.zip.part").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is downloading"):
            fetch_file(source, tmp_path, patience=QUICK)


@pytest.mark.parametrize("name", ["../x.zip", "/x.zip", "a/../../x.zip", ""])
def test_a_name_outside_the_folder_is_refused(source, tmp_path, name):
    with pytest.raises(UsageError, match="leaves the data set's folder"):
        fetch_file(source.model_copy(update={"filename": name}), tmp_path / "set", patience=QUICK)
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "data:text/plain,x"])
def test_only_http_is_downloaded(tmp_path, url):
    with pytest.raises(UsageError, match="only http and https"):
        fetch_file(Download(url=url, filename="x"), tmp_path, patience=QUICK)


def test_a_redirection_to_another_scheme_is_not_followed(source, behaviour, tmp_path):
    behaviour.statuses[:] = [302]
    behaviour.location = "file:///etc/passwd"
    with pytest.raises(MissingPrerequisite, match="302"):
        fetch_file(source, tmp_path, patience=QUICK)
    assert names(tmp_path) == []


def test_an_encrypted_address_does_not_lead_to_an_open_one():
    asked = urllib.request.Request("https://example.org/a")
    handler = transfer._NoDowngrade()
    with pytest.raises(MissingPrerequisite, match="not encrypted: refused"):
        handler.redirect_request(asked, None, 302, "", Message(), "http://example.org/a")
    followed = handler.redirect_request(asked, None, 302, "", Message(), "https://example.org/b")
    assert followed is not None
    assert followed.full_url == "https://example.org/b"


def test_the_size_is_asked_for_where_the_card_does_not_say(source):
    assert announced_size(bare(source)) == len(CONTENT)
    assert announced_size(Download(url="http://127.0.0.1:9/x", filename="x")) is None
