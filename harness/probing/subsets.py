"""Smaller training sets of the same images, for label-efficiency curves.

Within each class the images are put into a random order once per draw, and a fraction takes the
first of them: subsets keep the proportions of the classes, and a smaller one lies in a larger one.
The order follows from the data's fingerprint, so it is the same for every tokenizer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MetricError
from ..statistics.draws import DrawStream, strata_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RULE = "label-subset-1"
"""Name and version of the draw; part of the metric's definition."""


def label_subset(
    strata: Sequence[str], fraction: float, *, fingerprint: str, draw: int
) -> NDArray[np.int64]:
    """Rows of a stratified part of the images, sorted.

    Args:
        strata: class of each image.
        fraction: in (0, 1]; of each class, rounded up, so that none gets lost.
        fingerprint: of the images in their order.
        draw: number of the draw; each has an order of its own.

    Raises:
        MetricError: a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise MetricError(f"a part of {fraction} of the labels; it must be in (0, 1].")
    chosen = []
    for name, rows in strata_rows(strata).items():
        stream = DrawStream(RULE, fingerprint, f"{draw}/{name}")
        order = np.argsort(stream.uniform(1, len(rows))[0], kind="stable")
        # The tolerance keeps 0.1 x 30 at 3, whatever a float makes of it.
        chosen.append(rows[order[: math.ceil(fraction * len(rows) - 1e-9)]])
    return np.sort(np.concatenate(chosen))
