"""Trivial bounds: what a reconstruction metric gives to a mean colour or a plain downscale.

A tokenizer that does not beat `mean` and `down16` has learned nothing that the benchmark can
see. Bounds are no codes: they have no bits, and they do not quantise what they keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn import functional as F

from ..harness.errors import NotApplicable, UsageError
from ..harness.image_batch import check_images
from ..harness.protocol import Encoding, TokenizerInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

_CANNOT = {
    "features": "a bound measures reconstruction and has no representation to read",
    "continuous": "a bound has no encoder",
}


class _Bound:
    """What the bounds share: the check of their input, and having no features."""

    def __init__(self, info: TokenizerInfo, *, device: str) -> None:
        self.info = info
        self._device = device

    def _checked(self, images: Tensor) -> Tensor:
        check_images(images, tokenizer=self.info.full_name, size_multiple=self.info.size_multiple)
        return images.detach().to(self._device)

    def _latents(self, encoding: Encoding) -> Tensor:
        latents = encoding.latents
        if latents is None or latents.ndim != 4 or latents.shape[1] != 3:
            seen = "none" if latents is None else f"shape {tuple(latents.shape)}"
            message = f"{self.info.full_name}: decode needs latents (B, 3, h, w), got {seen}"
            raise UsageError(message)
        return latents.detach().to(self._device)

    def features(self, images: Tensor) -> Tensor:
        """Refused: a bound has none.

        Raises:
            NotApplicable: always.
        """
        message = f"{self.info.full_name}: {self.info.cannot['features']} ({len(images)} images)"
        raise NotApplicable(message)


class MeanColour(_Bound):
    """Each image becomes its mean colour, channel by channel."""

    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> latents (B, 3, H, H), constant over each channel.

        The mean is repeated over the image (as a view, without memory), because a single
        value would not tell `decode` the side.
        """
        checked = self._checked(images)
        return Encoding(latents=checked.mean(dim=(2, 3), keepdim=True).expand_as(checked))

    def decode(self, encoding: Encoding) -> Tensor:
        """Latents (B, 3, H, H) -> float32 (B, 3, H, H) in [0, 1]."""
        return self._latents(encoding).clone()


class BoxDown(_Bound):
    """Area average over squares of `factor` pixels, then bicubic interpolation back."""

    def __init__(self, info: TokenizerInfo, *, factor: int, device: str) -> None:
        super().__init__(info, device=device)
        self._factor = factor

    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> latents (B, 3, H / factor, H / factor)."""
        return Encoding(latents=F.avg_pool2d(self._checked(images), self._factor))

    def decode(self, encoding: Encoding) -> Tensor:
        """Latents (B, 3, h, w) -> float32 (B, 3, h·factor, w·factor); may leave [0, 1].

        Bicubic as in torch: Keys' kernel with a = -0.75 and half-pixel centres.
        """
        return F.interpolate(
            self._latents(encoding),
            scale_factor=self._factor,
            mode="bicubic",
            align_corners=False,
            antialias=False,
        )


def _info(name: str, variant: str, *, factor: int, source: str) -> TokenizerInfo:
    return TokenizerInfo(
        name=name,
        variant=variant,
        kind="bound",
        size_multiple=factor,
        downsample=factor,
        latent_dims=3,
        training_data="none",
        code_licence="Apache-2.0",
        weights_licence="no weights",
        source=source,
        cannot=dict(_CANNOT),
    )


def _refuse_options(name: str, config: Mapping[str, Any] | None, weights: object) -> None:
    if config or weights is not None:
        given = "config" if config else "weights"
        message = f"{name}: a bound takes no {given}; leave it out"
        raise UsageError(message)


def build_mean(
    *, variant: str, config: Mapping[str, Any] | None, weights: object, device: str
) -> MeanColour:
    """The bound `mean`.

    Raises:
        UsageError: `config` or `weights` was given.
    """
    _refuse_options("mean", config, weights)
    source = "per-image, per-channel mean colour"
    return MeanColour(_info("mean", variant, factor=1, source=source), device=device)


def _build_down(
    factor: int, *, variant: str, config: Mapping[str, Any] | None, weights: object, device: str
) -> BoxDown:
    name = f"down{factor}"
    _refuse_options(name, config, weights)
    source = f"{factor}×{factor} area average, bicubic back"
    info = _info(name, variant, factor=factor, source=source)
    return BoxDown(info, factor=factor, device=device)


def build_down8(
    *, variant: str, config: Mapping[str, Any] | None, weights: object, device: str
) -> BoxDown:
    """The bound `down8`.

    Raises:
        UsageError: `config` or `weights` was given.
    """
    return _build_down(8, variant=variant, config=config, weights=weights, device=device)


def build_down16(
    *, variant: str, config: Mapping[str, Any] | None, weights: object, device: str
) -> BoxDown:
    """The bound `down16`.

    Raises:
        UsageError: `config` or `weights` was given.
    """
    return _build_down(16, variant=variant, config=config, weights=weights, device=device)


def build_pixels(
    *, variant: str, config: Mapping[str, Any] | None, weights: object, device: str
) -> BoxDown:
    """The bound `pixels`: what a probe reads where nobody has learnt anything, at 64 x 64.

    Raises:
        UsageError: `config` or `weights` was given.
    """
    _refuse_options("pixels", config, weights)
    source = "4×4 area average: the pixels of a 64×64 image, bicubic back"
    info = _info("pixels", variant, factor=4, source=source)
    return BoxDown(info, factor=4, device=device)
