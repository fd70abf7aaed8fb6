"""Random numbers and weights that are a pure function of a seed and a name.

The words come from NumPy's Philox bit generator, keyed with the seed in the upper half and the
CRC-32 of the name in the lower one. Only raw words are used: NumPy promises that they never
change, which it does not for the distributions of a `Generator`.
"""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def raw_words(seed: int, name: str, count: int) -> NDArray[np.uint64]:
    """The first `count` 64-bit words of the stream that `seed` (32 bits) and `name` select.

    Raises:
        UsageError: a seed outside 0..2³²-1.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"a Philox seed has 32 bits, got {seed}.")
    stream = np.random.Philox(key=(seed << 32) | zlib.crc32(name.encode("utf-8")))
    return stream.random_raw(count) if count else np.zeros(0, dtype=np.uint64)


def unit_uniform(seed: int, name: str, count: int) -> NDArray[np.float64]:
    """`count` numbers, uniform in [0, 1): the upper 53 bits of each word, times 2⁻⁵³."""
    return (raw_words(seed, name, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def fan_in_weights(
    seed: int, name: str, shape: tuple[int, ...], *, gain: float = 1.0
) -> NDArray[np.float32]:
    """Uniform weights of standard deviation ``gain / √fan_in``, fan_in = ∏ shape[1:].

    Args:
        seed: 0..2³²-1.
        name: the state-dict key of the tensor.
        shape: of the tensor, outputs first.
        gain: √2 keeps the second moment through a ReLU.
    """
    fan_in = max(1, math.prod(shape[1:]))
    return uniform_weights(seed, name, shape, spread=gain * math.sqrt(3.0 / fan_in))


def uniform_weights(
    seed: int, name: str, shape: tuple[int, ...], *, spread: float, centre: float = 0.0
) -> NDArray[np.float32]:
    """Weights uniform in [centre - spread, centre + spread), computed in float64, cast once."""
    values = 2.0 * unit_uniform(seed, name, math.prod(shape)) - 1.0
    return (centre + spread * values).reshape(shape).astype(np.float32)
