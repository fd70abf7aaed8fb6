"""`curve.png`: a run at a glance."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 4
_PANEL_INCHES = (3.3, 1.9)
_TITLE_INCHES = 0.4
_POINTS, _SMOOTH_POINTS = 400, 40
"""Points of a thin and of a thick line at most; neighbours become their mean."""
_STEEP = 10.0
"""Positive values that fall by more than this factor are drawn on a logarithmic axis."""
_LAST = ("gradient_norm", "opponent_gradient_norm", "learning_rate", "images_per_second")
"""Readings that come after the others, in this order."""
_LEFT_OUT = ("step", "steps_per_second")
_TRAINING, _NOISE, _HELD_OUT, _GROUP = "#2f5f9e", "#b4cbe8", "#d9661f", "#a8a8a8"


@dataclass(slots=True)
class _Panel:
    """What is drawn under one name.

    Attributes:
        training: (n, 2) steps and means.
        held_out: the same of validations.
        groups: of validations, by group (such as modality).
    """

    training: list[tuple[float, float]] = field(default_factory=list)
    held_out: list[tuple[float, float]] = field(default_factory=list)
    groups: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


def draw_curve(
    lines: Sequence[dict[str, Any]], validations: Sequence[dict[str, Any]], *, title: str
) -> bytes:
    """A panel for every reading and score, over the steps; those of one name share one.

    Scores called `psnr/ct` are drawn thin in the panel of `psnr`.

    Args:
        lines: of the curve: `step` and readings.
        validations: `step` and scores.
        title: of the picture.

    Returns:
        A PNG file's bytes.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = _panels(lines, validations)
    columns = min(_COLUMNS, max(len(panels), 1))
    rows = max(-(-len(panels) // columns), 1)
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(columns * width, rows * height + _TITLE_INCHES))
    FigureCanvasAgg(figure)
    _write_title(figure, title, panels)
    places = figure.subplots(
        rows, columns, squeeze=False, gridspec_kw=_margins(columns, rows)
    ).flatten()
    last = max((line["step"] for line in (*lines, *validations)), default=1)
    for axes, (name, panel) in zip(places, panels.items(), strict=False):
        _draw_panel(axes, name, panel)
        axes.set_xlim(0, last)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _write_title(figure: Figure, title: str, panels: Mapping[str, _Panel]) -> None:
    """The title on the left, what the colours mean on the right."""
    from matplotlib.lines import Line2D

    figure.suptitle(title, fontsize=10, x=0.15 / figure.get_figwidth(), ha="left")
    meanings = {"training": _TRAINING}
    if any(panel.held_out for panel in panels.values()):
        meanings["held out"] = _HELD_OUT
    if any(panel.groups for panel in panels.values()):
        meanings["held out, each group"] = _GROUP
    figure.legend(
        handles=[Line2D([], [], color=colour, label=name) for name, colour in meanings.items()],
        loc="upper right",
        ncols=len(meanings),
        fontsize=8,
        frameon=False,
    )


def _margins(columns: int, rows: int) -> dict[str, float]:
    """Room around the panels; matplotlib's own layout would take longer than the drawing."""
    width, height = columns * _PANEL_INCHES[0], rows * _PANEL_INCHES[1] + _TITLE_INCHES
    return {
        "left": 0.5 / width,
        "right": 1 - 0.15 / width,
        "bottom": 0.3 / height,
        "top": 1 - (_TITLE_INCHES + 0.2) / height,
        "wspace": 0.2,
        "hspace": 0.35,
    }


def _panels(
    lines: Sequence[dict[str, Any]], validations: Sequence[dict[str, Any]]
) -> dict[str, _Panel]:
    found: dict[str, _Panel] = {}
    for line in lines:
        for name, value in line.items():
            if name not in _LEFT_OUT:
                found.setdefault(name, _Panel()).training.append((line["step"], value))
    for line in validations:
        for name, value in line.items():
            if name not in _LEFT_OUT:
                whole, _, group = name.partition("/")
                panel = found.setdefault(whole, _Panel())
                points = panel.groups.setdefault(group, []) if group else panel.held_out
                points.append((line["step"], value))
    last = {name: found.pop(name) for name in _LAST if name in found}
    return {**found, **last}


def _draw_panel(axes: Axes, name: str, panel: _Panel) -> None:
    for points in panel.groups.values():
        axes.plot(*_thinned(points), color=_GROUP, linewidth=0.6, zorder=1)
    if len(panel.training) > 2 * _SMOOTH_POINTS:
        axes.plot(*_thinned(panel.training), color=_NOISE, linewidth=0.7, zorder=2)
    if panel.training:
        smooth = _thinned(panel.training, _SMOOTH_POINTS)
        axes.plot(*smooth, color=_TRAINING, linewidth=1.2, zorder=3)
    if panel.held_out:
        held_out = {"color": _HELD_OUT, "linewidth": 1.2, "marker": "o", "markersize": 2.5}
        axes.plot(*_thinned(panel.held_out), zorder=4, **held_out)
    if name != "learning_rate" and _falls_steeply(panel.training):
        axes.set_yscale("log")
    else:
        axes.locator_params(nbins=4)
    axes.locator_params(axis="x", nbins=5)
    # With a place of its own; to look for one takes matplotlib a third of the time.
    axes.set_title(name, fontsize=8, loc="left", y=1.02, pad=0)
    _name_last_values(axes, panel)
    axes.tick_params(labelsize=6.5, length=2)
    axes.grid(visible=True, linewidth=0.4, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _name_last_values(axes: Axes, panel: _Panel) -> None:
    """In the panel's upper right corner, above the axes."""
    place = 1.0
    for points, colour in ((panel.held_out, _HELD_OUT), (panel.training, _TRAINING)):
        if points:
            axes.text(
                place,
                1.02,
                f"{points[-1][1]:.4g}",
                transform=axes.transAxes,
                fontsize=8,
                color=colour,
                ha="right",
                va="baseline",
            )
            place -= 0.22


def _falls_steeply(points: Sequence[tuple[float, float]]) -> bool:
    values = np.array([value for _, value in points])
    if not len(values) or values.min() <= 0:
        return False
    tenth = -(-len(values) // 10)
    return bool(np.median(values[:tenth]) > _STEEP * np.median(values[-tenth:]))


def _thinned(
    points: Sequence[tuple[float, float]], most: int = _POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, of many points the means of as many neighbours as make them few."""
    both = np.array(points, dtype=float)
    stride = -(-len(both) // most)
    starts = np.arange(0, len(both), stride)
    sizes = np.diff(starts, append=len(both))
    means = np.add.reduceat(both, starts) / sizes[:, None]
    return means[:, 0], means[:, 1]
