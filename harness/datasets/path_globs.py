"""Files below a folder by globs on their relative paths, letter case ignored.

Owners mix `.jpg` and `.JPG` within one set, and unpacking tools change the case of folders, so
both mean the same here, on every operating system.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path


def glob_matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a relative POSIX path fits one of the globs.

    `*` and `?` stay within one directory, `**` crosses them: `**/*.png` also fits `a.png`.
    """
    return any(_expression(pattern).fullmatch(name) for pattern in patterns)


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(p, re.escape(p)) for p in pieces), re.IGNORECASE)


def files_below(root: Path) -> list[str]:
    """Relative POSIX paths of all files, sorted; hidden files and folders are left out."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        place = Path(folder).relative_to(root)
        found += [(place / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(found)
