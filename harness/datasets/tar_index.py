"""Where the members of a tar file lie, for random access without unpacking.

The index of a shard is read once and kept in the cache root, keyed by the shard's path, size and
time. Only regular files below the archive's root are listed; others are named with the reason.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from ..errors import UsageError
from ..files import canonical_json, hash_value
from ..locations import cache_root
from ..passing import run_again_if_passing
from ..sealed import is_whole, write_sealed

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file of a shard."""

    name: str
    offset: int
    """Of its content in the tar file, in bytes."""
    size: int


@dataclass(frozen=True, slots=True)
class TarIndex:
    """What one shard holds."""

    path: Path
    members: tuple[Member, ...]
    refused: tuple[str, ...]
    """Members that are not read, each with shard, name and reason; and where it is cut."""


def tar_index(path: Path) -> TarIndex:
    """The shard's index, from the cache where the file has not changed.

    Raises:
        UsageError: unreadable, compressed, or not a tar file.
        RunAgain: the machine failed while it was read.
    """
    try:
        stat = path.stat()
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror or error})"
        raise UsageError(message) from error
    key = hash_value([_VERSION, str(path.resolve()), stat.st_size, stat.st_mtime_ns])[:32]
    kept = cache_root() / "tar-index" / f"{key}.json"
    known = _recall(path, kept) if is_whole(kept) else None
    if known is not None:
        return known
    index = _scan(path, stat.st_size)
    content = {"members": [asdict(each) for each in index.members], "refused": index.refused}
    write_sealed(kept, canonical_json(content).encode())
    return index


def read_member(path: Path, member: Member) -> bytes:
    """The member's content.

    Raises:
        UsageError: the shard cannot be read, or ends before the member does.
    """
    try:
        with path.open("rb") as file:
            file.seek(member.offset)
            data = file.read(member.size)
    except OSError as error:
        message = f"{path}!{member.name}: cannot be read ({error.strerror or error})"
        raise UsageError(message) from error
    if len(data) != member.size:
        message = f"{path}!{member.name}: cut off after {len(data)} of {member.size} bytes"
        raise UsageError(message)
    return data


def _recall(path: Path, kept: Path) -> TarIndex | None:
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        members = tuple(Member(**each) for each in content["members"])
        return TarIndex(path, members, tuple(content["refused"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _scan(path: Path, file_size: int) -> TarIndex:
    members: dict[str, Member] = {}
    refused: list[str] = []
    end = 0
    try:
        with path.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as archive:
            while True:
                info = archive.next()
                # tarfile would keep every header it has seen.
                archive.members = []  # pyright: ignore[reportAttributeAccessIssue]
                if info is None:
                    break
                end = info.offset_data + (info.size if info.isreg() else 0)
                info.name = info.name.encode(errors="replace").decode()  # names need not be text
                problem = _problem(info, file_size)
                if problem is None and info.name in members:
                    problem = "occurs more than once; the first is read"
                if problem is not None:
                    refused.append(f"{path}!{info.name}: {problem}")
                elif info.isreg():
                    members[info.name] = Member(info.name, info.offset_data, info.size)
                if end > file_size:
                    break
    except (tarfile.TarError, OSError, EOFError) as error:
        run_again_if_passing(error, path)
        if not members and not refused:
            message = (
                f"{path}: not an uncompressed tar file ({error}). Random access needs plain .tar: "
                "unpack .tar.gz with gunzip."
            )
            raise UsageError(message) from error
        refused.append(f"{path}: damaged after byte {end} ({error}); later members are lost")
        return TarIndex(path, tuple(members.values()), tuple(refused))
    if end <= file_size and not _ends_properly(path, end, file_size):
        refused.append(f"{path}: cut off after byte {end}: the end of the archive is missing")
    return TarIndex(path, tuple(members.values()), tuple(refused))


def _problem(info: tarfile.TarInfo, file_size: int) -> str | None:
    if info.issym() or info.islnk():
        return "a link is not read"
    if not (info.isreg() or info.isdir()):
        return "a device or special file is not read"
    name = PurePosixPath(info.name)
    if name.is_absolute() or ".." in name.parts or "\\" in info.name:
        return "the name leaves the archive; it is not read"
    if info.issparse():
        return "a sparse file is not read"
    if info.isreg() and info.offset_data + info.size > file_size:
        there = max(0, file_size - info.offset_data)
        return f"cut off after {there} of {info.size} bytes; later members are lost"
    return None


def _ends_properly(path: Path, end: int, file_size: int) -> bool:
    """Whether a block of zeros, which ends an archive, follows the last member."""
    with path.open("rb") as file:
        file.seek(-(-end // 512) * 512)
        block = file.read(512)
    return len(block) == 512 and not any(block) and file_size > end
