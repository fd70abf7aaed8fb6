"""Small pieces of markup that tables repeat by the thousand, made without the template engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

from markupsafe import Markup, escape

from ..trust import Mark
from .cells import Value
from .svg import element

_SHAPES = {
    "discrete": element("circle", cx=6, cy=6, r=5),
    "continuous": element("polygon", points="6,0 12,6 6,12 0,6"),
    "codec": element("rect", x=1, y=1, width=10, height=10),
    "bound": element("polygon", points="6,1 12,11 0,11"),
}


def mark_badge(mark: Mark) -> Markup:
    """A trust mark as shape and word, its meaning as a title."""
    return _badge(Mark(mark.word))


@cache
def _badge(mark: Mark) -> Markup:
    return Markup(
        '<span class="mark mark-{}" title="{}"><span aria-hidden="true">{}</span> {}</span>'
    ).format(mark.word, mark.meaning, mark.shape, mark.word)


@cache
def kind_badge(kind: str) -> Markup:
    """A kind of system as the shape that plots give it, and its word."""
    return Markup(
        '<span class="kind kind-{}"><svg viewBox="0 0 12 12" width="10" height="10" '
        'aria-hidden="true" focusable="false">{}</svg> {}</span>'
    ).format(kind, _SHAPES[kind], kind)


def value_cell(cell: Value, *, best: bool = False, group: bool = False) -> Markup:
    """A table's cell of a value; `group`: one whose text scripts may replace by a group's."""
    value = cell.value
    names = "num m" if group else "num"
    names += " absent" if value is None else ""
    names += " best" if best else ""
    data = f' data-v="{"" if value is None else value}"' if group else ""
    return Markup(f'<td class="{names}"{data}>{_text(cell)}</td>')  # noqa: S704


def _text(cell: Value) -> str:
    # Text and spread are formatted numbers or a dash; only the note may hold a record's words.
    spread = f' <span class="pm">{cell.spread}</span>' if cell.spread else ""
    return f'<span class="v" title="{escape(cell.note)}">{cell.text}</span>{spread}'


def facts_list(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Terms and their descriptions."""
    lines = [
        f"<div><dt>{escaped(term)}</dt><dd>{escaped(text)}</dd></div>\n" for term, text in pairs
    ]
    return Markup(f'<dl class="facts">\n{"".join(lines)}</dl>\n')  # noqa: S704 (escaped above)


@lru_cache(maxsize=8192)
def escaped(text: str) -> str:
    """A record's words without markup: most of them stand on thousands of pages."""
    return str(escape(text))
