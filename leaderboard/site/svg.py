"""SVG text, built from escaped parts: nothing that a record says can become markup."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from markupsafe import Markup, escape


def number(value: float) -> str:
    """Pixels with at most one decimal, so that the same plot has the same bytes everywhere."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def element(name: str, *children: Markup | str, **attributes: float | str | None) -> Markup:
    """One element; `class_` and `text_anchor` become `class` and `text-anchor`."""
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None:
            continue
        text = escape(value) if isinstance(value, str) else number(value)
        parts.append(f' {_attribute(key)}="{text}"')
    if not children:
        return Markup("".join(parts) + "/>")  # noqa: S704 (parts are escaped above)
    inside = "".join([child if type(child) is Markup else escape(child) for child in children])
    return Markup("".join(parts) + f">{inside}</{name}>")  # noqa: S704


@cache
def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def group(children: Iterable[Markup], **attributes: float | str | None) -> Markup:
    """Elements that belong together."""
    return element("g", *children, **attributes)


def figure(
    children: Iterable[Markup], *, size: tuple[float, float], title: str, description: str
) -> Markup:
    """A plot as an image with a name and a description for those who cannot see it."""
    width, height = size
    head = (element("title", title), element("desc", description))
    return element(
        "svg",
        *head,
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        class_="plot",
        aria_label=f"{title}. {description}",
    )


def marker(shape: str, x: float, y: float, *, radius: float = 5.0) -> Markup:
    """A point: `circle`, `square`, `diamond` or `triangle`, so that kinds differ without colour."""
    if shape == "circle":
        return element("circle", cx=x, cy=y, r=radius)
    if shape == "square":
        side = radius * 1.7
        return element("rect", x=x - side / 2, y=y - side / 2, width=side, height=side)
    r = radius * 1.3
    corners = {
        "diamond": [(x, y - r), (x + r, y), (x, y + r), (x - r, y)],
        "triangle": [(x, y - r), (x + r, y + 0.8 * r), (x - r, y + 0.8 * r)],
    }[shape]
    return element("polygon", points=" ".join(f"{number(a)},{number(b)}" for a, b in corners))
