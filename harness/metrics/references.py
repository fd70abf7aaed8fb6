"""What a Fréchet or kernel distance is measured against: two types that cannot be exchanged.

rFID and gFID are the same formula against different images, and mixing them up gives a plausible
number. Here each reference takes candidates of its own type only:

* `ReconstructionReference`: the very images that the tokenizer was given, after the same resize.
  Row i of `Reconstructions` was made from image i; pairs stay together in every subset.
* `GenerationReference`: a fixed list of real images. `Samples` have no partner there, and both
  sides have equally many images, because the distance falls with n.

The arrays stay inside: no function takes one type where the other is meant, and another type is a
`TypeError`, never a number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, final

from ..errors import MetricError
from .feature_sets import check_feature_sets, check_features, require_enough_images
from .frechet import frechet_distance, frechet_over_subsets
from .kid import kid, kid_over_subsets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Features = NDArray[np.floating]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Reconstructions:
    """Features of reconstructed images, float (n, d), in the order of their originals.

    Attributes:
        features: float (n, d).
        space: id of the feature space, equal to the reference's.
        fingerprint: of the originals that they were made from.
    """

    features: Features = field(repr=False)
    space: str
    fingerprint: str


@final
@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Features of generated images, float (n, d), in any order.

    Attributes:
        features: float (n, d).
        space: id of the feature space, equal to the reference's.
    """

    features: Features = field(repr=False)
    space: str


@final
class ReconstructionReference:
    """Features of the images that were given to the tokenizer: what rFID is measured against.

    Args:
        features: float (n, d), all finite.
        space: id of the feature space: the extractor with its resize and weights.
        fingerprint: of the images, in this order.

    Raises:
        MetricError: features of another shape, or not finite.
    """

    RULE: ClassVar[str] = "the very images given to the tokenizer, pairs kept together"
    """Part of the definitions of the metrics."""

    def __init__(self, features: Features, *, space: str, fingerprint: str) -> None:
        check_features(features, "reference")
        self._features, self.space, self.fingerprint = features, space, fingerprint

    def __len__(self) -> int:
        return len(self._features)

    @property
    def dims(self) -> int:
        """d, numbers per image."""
        return self._features.shape[1]

    def frechet(
        self, candidate: Reconstructions, rows: NDArray[np.int64] | None = None, *, name: str
    ) -> float:
        """Fréchet distance of the reconstructions to these images; at least 0, lower is better.

        Args:
            candidate: made from these very images.
            rows: int64 (m,), the images to use; all where None.
            name: of the metric, for messages.

        Raises:
            TypeError: the candidate is of another type.
            MetricError: other images, another space, or fewer than 100 images.
        """
        reference, other = self._pair(candidate, rows)
        require_enough_images(len(reference), name)
        return frechet_distance(reference, other)

    def kernel(
        self, candidate: Reconstructions, rows: NDArray[np.int64] | None = None, *, name: str
    ) -> float:
        """Unbiased polynomial MMD of the reconstructions; as `frechet`."""
        reference, other = self._pair(candidate, rows)
        require_enough_images(len(reference), name)
        return kid(reference, other)

    def frechet_over(
        self, candidate: Reconstructions, subsets: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Fréchet distance of each subset of images, int64 (R, m): float64 (R,)."""
        return frechet_over_subsets(*self._pair(candidate, None), subsets)

    def kernel_over(
        self, candidate: Reconstructions, subsets: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Polynomial MMD of each subset of images, int64 (R, m): float64 (R,)."""
        return kid_over_subsets(*self._pair(candidate, None), subsets)

    def _pair(
        self, candidate: Reconstructions, rows: NDArray[np.int64] | None
    ) -> tuple[Features, Features]:
        _require_type(candidate, Reconstructions, "reconstructions of these very images")
        _require_space(self.space, candidate.space)
        if candidate.fingerprint != self.fingerprint:
            raise MetricError(
                "the reconstructions were made from other images than the reference holds: rFID "
                "compares with the very images that the tokenizer was given."
            )
        check_feature_sets(self._features, candidate.features)
        if len(candidate.features) != len(self._features):
            raise MetricError(
                f"{len(self._features)} originals and {len(candidate.features)} reconstructions: "
                "every reconstruction needs the image that it was made from."
            )
        if rows is None:
            return self._features, candidate.features
        return self._features[rows], candidate.features[rows]


@final
class GenerationReference:
    """Features of a fixed list of real images: what gFID is measured against.

    Args:
        features: float (n, d), all finite.
        space: id of the feature space: the extractor with its resize and weights.
        images: which images these are, for the metric's definition: part, rule, fingerprint.
        flags: what to say beside every value, such as ``contains training images``.

    Raises:
        MetricError: features of another shape, or not finite.
    """

    RULE: ClassVar[str] = "a fixed list of real images, as many as samples"
    """Part of the definitions of the metrics."""

    def __init__(
        self,
        features: Features,
        *,
        space: str,
        images: dict[str, Any],
        flags: tuple[str, ...] = (),
    ) -> None:
        check_features(features, "reference")
        self._features, self.space = features, space
        self.images, self.flags = dict(images), flags

    def __len__(self) -> int:
        return len(self._features)

    @property
    def dims(self) -> int:
        """d, numbers per image."""
        return self._features.shape[1]

    def frechet(self, candidate: Samples, *, name: str) -> float:
        """Fréchet distance of the samples to these images; at least 0, lower is better.

        Raises:
            TypeError: the candidate is of another type.
            MetricError: another space, another number of images, or fewer than 100.
        """
        self._check(candidate, name)
        return frechet_distance(self._features, candidate.features)

    def kernel(self, candidate: Samples, *, name: str) -> float:
        """Unbiased polynomial MMD of the samples; as `frechet`, but any numbers of images."""
        self._check(candidate, name, equal=False)
        return kid(self._features, candidate.features)

    def _check(self, candidate: Samples, name: str, *, equal: bool = True) -> None:
        _require_type(candidate, Samples, "generated samples")
        _require_space(self.space, candidate.space)
        check_feature_sets(self._features, candidate.features)
        require_enough_images(min(len(self._features), len(candidate.features)), name)
        if equal and len(self._features) != len(candidate.features):
            raise MetricError(
                f"{name}: {len(candidate.features)} samples against {len(self._features)} real "
                "images. The distance falls with the number of images: use equally many."
            )


def _require_type(candidate: object, wanted: type, what: str) -> None:
    if not isinstance(candidate, wanted):
        message = (
            f"this reference takes {wanted.__name__} ({what}), got {type(candidate).__name__}: "
            "rFID and gFID are different metrics"
        )
        raise TypeError(message)


def _require_space(reference: str, candidate: str) -> None:
    if reference != candidate:
        raise MetricError(
            f"features of {candidate} against a reference in {reference}: both sides must come "
            "from one extractor with one resize."
        )
