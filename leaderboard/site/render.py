"""Pages from templates, and the one place that writes the site's files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...harness import package_version
from ..trust import WORDS
from .badges import facts_list, kind_badge, mark_badge, value_cell

FOLDER = Path(__file__).parent
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'"
)


@cache
def environment() -> Environment:
    """Templates with escaping on and every unknown name an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "content_policy": CONTENT_POLICY,
        "version": package_version(),
        "mark_words": WORDS,
        "mark_badge": mark_badge,
        "kind_badge": kind_badge,
        "value_cell": value_cell,
        "facts_list": facts_list,
    }
    made.filters |= {"grouped": lambda number: f"{number:,}", "day": lambda time: time[:10]}
    return made


class Site:
    """The folder that a site is written to; its pages know the way back to its root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: set[str] = set()

    def page(self, path: str, template: str, **context: Any) -> None:
        """Write one page; `root` in templates is the relative way to the site's root."""
        root = "../" * path.count("/")
        text = environment().get_template(template).render(root=root, page=path, **context)
        self.write(path, text.encode("utf-8", errors="replace"))

    def write(self, path: str, data: bytes) -> None:
        """Write a file below the root."""
        self._place(path).write_bytes(data)

    def copy(self, path: str, source: Path) -> None:
        """Copy a file to a place below the root."""
        shutil.copyfile(source, self._place(path))

    def write_with(self, path: str, writer: Callable[[Path], None]) -> None:
        """Let `writer` make a file below the root."""
        writer(self._place(path))

    def _place(self, path: str) -> Path:
        target = self.root / path
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        return target
