"""JSON and YAML of unknown origin: plain data of bounded size and depth, or a ValueError.

What is refused here would otherwise surface as a RecursionError, a crash of the C parser, or
memory without end: nesting, aliases that multiply, tags that name Python objects, pipes and
devices in place of files.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

LARGEST_JSON_BYTES = 64 << 20
LARGEST_YAML_BYTES = 4 << 20
DEEPEST = 64
"""Lists and mappings within each other; medbench's own files have fewer than ten."""
MOST_NODES = 100_000
"""Of a YAML document with aliases, each counted as often as it is used."""

_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_JSON_OPENS = {str: ("[", "{"), bytes: (b"[", b"{")}
_JSON_SURROGATE = {str: re.compile(r"\\u[dD][89a-fA-F]"), bytes: re.compile(rb"\\u[dD][89a-fA-F]")}


class _Loader(_SAFE):
    """The safe loader, which would take the last of several equal keys without a word."""

    def construct_document(self, node: yaml.Node) -> Any:
        """The value of a document's root, which has no key twice in a mapping."""
        # Before merges are resolved: a key beside `<<` overrides the merged one, and may.
        _refuse_twice(node, set())
        return super().construct_document(node)


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, nested deeper than `DEEPEST`, or with half of a surrogate pair.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    # Counting brackets is quick, and nearly always answers the question.
    opens: Any = _JSON_OPENS[type(text)]
    if sum(text.count(each) for each in opens) > DEEPEST and _deeper(value):
        raise ValueError(_too_deep())
    refuse_halves(text, value)
    return value


def refuse_halves(text: str | bytes, value: Any) -> None:
    """Refuse half of a surrogate pair, which no file and no hash can hold.

    Args:
        text: JSON; only its escapes can bring such halves.
        value: what it holds.

    Raises:
        ValueError: a text in it is none.
    """
    surrogate: Any = _JSON_SURROGATE[type(text)]
    if not surrogate.search(text):
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        message = f"the escape {half} is half of a character (a surrogate without its pair)"
        raise ValueError(message) from error


def load_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: not JSON in UTF-8, too deep, or larger than `LARGEST_JSON_BYTES`.
    """
    return parse_json(read_file(path, LARGEST_JSON_BYTES).decode("utf-8-sig"))


def parse_yaml(text: bytes) -> Any:
    """The value of a YAML document: mappings, lists, texts, numbers and dates.

    Raises:
        ValueError: not YAML, too deep, aliases that multiply, a tag that is no plain data, or a
            key that occurs twice in a mapping.
    """
    try:
        _check_events(yaml.parse(text, Loader=_Loader))
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe one)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(str(error)) from error
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        message = f"a value does not fit its tag ({type(error).__name__}: {error})"
        raise ValueError(message) from error


def load_yaml(path: Path) -> Any:
    """The value in a YAML file.

    Raises:
        OSError: the file cannot be read.
        ValueError: as `parse_yaml`, or larger than `LARGEST_YAML_BYTES`.
    """
    return parse_yaml(read_file(path, LARGEST_YAML_BYTES))


def read_file(path: Path, largest_bytes: int) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: the file cannot be read.
        ValueError: a pipe or a device (reading it may never end), or too large.
    """
    size = require_file(path)
    if size > largest_bytes:
        message = f"{size:,} bytes; at most {largest_bytes:,} are read"
        raise ValueError(message)
    with path.open("rb") as file:
        return file.read(size)


def require_file(path: Path) -> int:
    """The size of a regular file, bytes.

    Raises:
        OSError: it is not there, or a folder.
        ValueError: a pipe or a device, reading which may never end.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        message = "a pipe or a device, not a file"
        raise ValueError(message)
    return found.st_size


def _too_deep() -> str:
    return f"nested deeper than {DEEPEST} levels"


def _deeper(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _within(each)]
        if not level:
            return False
    return True


def _within(value: Any) -> list[Any]:
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in found if isinstance(each, dict | list)]


def _refuse_twice(node: yaml.Node, known: set[int]) -> None:
    """`known` are the nodes that were looked at: aliases share theirs."""
    if isinstance(node, yaml.ScalarNode) or id(node) in known:
        return
    known.add(id(node))
    inner = node.value
    if isinstance(node, yaml.MappingNode):
        inner = [each for pair in node.value for each in pair]
        keys = [key for key in inner[::2] if isinstance(key, yaml.ScalarNode)]
        counts = Counter((key.tag, key.value) for key in keys)
        for key in keys[::-1]:
            if counts[key.tag, key.value] > 1:
                line = key.start_mark.line + 1
                message = f"line {line}: the key {key.value!r} occurs twice in its mapping"
                raise ValueError(message)
    for each in inner:
        _refuse_twice(each, known)


def _check_events(events: Iterator[Any]) -> None:
    """Refuse depth and multiplying aliases before anything is built."""
    sizes: dict[str, int] = {}
    opened: list[tuple[str | None, int]] = []
    nodes, aliases = 0, False
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            aliases = True
            # An alias within its own anchor (a circle) is as unknown as one that has none.
            if event.anchor not in sizes:
                message = f"the alias {event.anchor!r} stands for nothing before it"
                raise ValueError(message)
            nodes += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            nodes += 1
            opened.append((event.anchor, nodes))
            sizes.pop(event.anchor, None) if event.anchor else None
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = nodes - before + 1
        if len(opened) > DEEPEST:
            raise ValueError(_too_deep())
        if aliases and nodes > MOST_NODES:
            message = f"aliases that stand for more than {MOST_NODES:,} values"
            raise ValueError(message)
