"""What a distance between feature distributions asks of its extractor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from ...errors import MetricError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@runtime_checkable
class Extractor(Protocol):
    """Images in, feature vectors out.

    The features of an image do not depend on the other images of the batch beyond float32
    rounding (1e-5 relative), and a call changes no state.

    Attributes:
        name: id that metric definitions name, such as ``rfd-random-1``.
        dims: d, the length of a feature vector.
        definition: all that changes the features: resize, input scaling, layers, weights
            (sha256). Part of a metric's definition hash, so only JSON values.
    """

    @property
    def name(self) -> str:
        """See the class."""
        ...

    @property
    def dims(self) -> int:
        """See the class."""
        ...

    @property
    def definition(self) -> Mapping[str, str | int | float]:
        """See the class."""
        ...

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of a batch.

        Args:
            images: uint8 (B, H, W, 3), RGB; the benchmark uses 256×256.

        Returns:
            float32 (B, dims).

        Raises:
            MetricError: no uint8 RGB batch.
        """
        ...


def check_image_batch(images: NDArray[np.uint8], smallest_side: int) -> None:
    """Check that `images` is a uint8 (B >= 1, H, W, 3) batch of sufficient size.

    Raises:
        MetricError: it is not.
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        seen = getattr(images, "dtype", type(images).__name__)
        raise MetricError(f"images must be a NumPy array of uint8 in 0..255, got {seen}.")
    if images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
        raise MetricError(f"images must have shape (B >= 1, H, W, 3), got {images.shape}.")
    if min(images.shape[1:3]) < smallest_side:
        raise MetricError(
            f"images are {images.shape[1]}×{images.shape[2]} pixels, this extractor needs sides "
            f"of at least {smallest_side}."
        )
