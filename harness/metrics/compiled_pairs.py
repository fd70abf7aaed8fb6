"""One area of a pair of images for `diversity`, as one compiled loop (the extra `fast`: numba).

Product, both passes of the window (11 taps, symmetric) and the quotient are done a row at a time,
so that nothing but twelve rows is written, and those stay in the nearest cache. Compiling takes two
seconds and is not kept: a cache of it would need a folder that can be written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@numba.njit(fastmath=True, error_model="numpy")
def _weighted(a, b, c, d, e, middle, f, g, h, i, j, ratios):
    """Eleven neighbours under the window; compiled into the loops that call it."""
    return (
        middle
        + ratios[0] * (a + j)
        + ratios[1] * (b + i)
        + ratios[2] * (c + h)
        + ratios[3] * (d + g)
        + ratios[4] * (e + f)
    )


@numba.njit(fastmath=True, error_model="numpy", nogil=True)
def add_area(  # pragma: no cover (compiled)
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    of_x: NDArray[np.float32],
    of_y: NDArray[np.float32],
    taps: NDArray[np.float32],
    constants: NDArray[np.float32],
    rows: NDArray[np.float32],
    sums: NDArray[np.float64],
) -> None:
    """Add the contrast and structure of two images to `sums`, one number a plane.

    Args:
        x: (P, H, W), planes about their own mean.
        y: of the other image.
        of_x: (3, P, h, w), windowed mean, variance and level, in the units of `diversity`.
        of_y: of the other image.
        taps: the first five of the symmetric window, in units of the middle one.
        constants: C2 in those units, and C1, or -1 where luminance does not count.
        rows: room for 12 rows of W, overwritten.
        sums: (P,).
    """
    planes, height, width = x.shape
    valid = width - 10
    ratios = (taps[0], taps[1], taps[2], taps[3], taps[4])
    c2, c1 = constants[0], constants[1]
    product = rows[11]
    for plane in range(planes):
        total = 0.0
        for row in range(height):
            for at in range(width):
                product[at] = x[plane, row, at] * y[plane, row, at]
            target = rows[row % 11]
            for at in range(valid):
                target[at] = _weighted(
                    product[at], product[at + 1], product[at + 2], product[at + 3],
                    product[at + 4], product[at + 5], product[at + 6], product[at + 7],
                    product[at + 8], product[at + 9], product[at + 10], ratios,
                )  # fmt: skip
            if row < 10:
                continue
            first = row - 10
            a0, a1, a2 = rows[first % 11], rows[(first + 1) % 11], rows[(first + 2) % 11]
            a3, a4, a5 = rows[(first + 3) % 11], rows[(first + 4) % 11], rows[(first + 5) % 11]
            a6, a7, a8 = rows[(first + 6) % 11], rows[(first + 7) % 11], rows[(first + 8) % 11]
            a9, a10 = rows[(first + 9) % 11], rows[(first + 10) % 11]
            mean_x, mean_y = of_x[0, plane, first], of_y[0, plane, first]
            variance_x, variance_y = of_x[1, plane, first], of_y[1, plane, first]
            level_x, level_y = of_x[2, plane, first], of_y[2, plane, first]
            of_row = np.float32(0.0)
            if c1 < 0:
                for at in range(valid):
                    filtered = _weighted(
                        a0[at], a1[at], a2[at], a3[at], a4[at], a5[at],
                        a6[at], a7[at], a8[at], a9[at], a10[at], ratios,
                    )  # fmt: skip
                    of_row += (filtered - mean_x[at] * mean_y[at] + c2) / (
                        variance_x[at] + variance_y[at]
                    )
            else:
                for at in range(valid):
                    filtered = _weighted(
                        a0[at], a1[at], a2[at], a3[at], a4[at], a5[at],
                        a6[at], a7[at], a8[at], a9[at], a10[at], ratios,
                    )  # fmt: skip
                    a, b = level_x[at], level_y[at]
                    structure = (filtered - mean_x[at] * mean_y[at] + c2) / (
                        variance_x[at] + variance_y[at]
                    )
                    of_row += structure * (np.float32(2.0) * a * b + c1) / (a * a + b * b + c1)
            total += of_row
        sums[plane] += total
