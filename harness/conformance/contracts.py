"""Conformance checks of shapes, dtypes, ranges and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import NotApplicable, UsageError, ValidationFailed
from ..protocol import Encoding
from .answers import TOLERANCE, relative_difference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .subject import Subject

FARTHEST = 8.0
"""Distance from [0, 1] beyond which a decoded value is of another scale (0 to 255, say)."""


def require(promise: bool, message: str) -> None:
    """Raise `ValidationFailed` with the message unless the promise holds."""
    if not promise:
        raise ValidationFailed(message)


def require_tensor(what: str, value: object, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Require a finite tensor of that dtype and shape; -1 is any length of at least 1."""
    if not isinstance(value, Tensor):
        message = f"{what}: expected a tensor, got {type(value).__name__}"
        raise ValidationFailed(message)
    fits = value.ndim == len(shape) and all(
        seen == wanted or (wanted == -1 and seen > 0)
        for seen, wanted in zip(value.shape, shape, strict=True)
    )
    wanted = "(" + ", ".join("any" if n == -1 else str(n) for n in shape) + ")"
    require(fits, f"{what}: expected shape {wanted}, got {tuple(value.shape)}")
    require(value.dtype == dtype, f"{what}: expected {dtype}, got {value.dtype}")
    require(bool(torch.isfinite(value).all()), f"{what}: has values that are not finite")


def encode_contract(subject: Subject) -> str:
    """Codes int64 (B, K, L), latents float32 (B, D, h, w), payload and bits of a codec."""
    encoding, info, batch = subject.encoding, subject.info, len(subject.images)
    require(isinstance(encoding, Encoding), f"expected an Encoding, got {type(encoding).__name__}")
    if info.kind == "codec":
        return _measured_bits(encoding, batch, info.bits_per_image)
    said = []
    if info.kind == "discrete":
        require_tensor("indices", encoding.indices, torch.int64, (batch, info.codebooks, -1))
        said = [f"indices {tuple(encoding.indices.shape)}"] if encoding.indices is not None else []
    require_tensor("latents", encoding.latents, torch.float32, (batch, info.latent_dims, -1, -1))
    said += [f"latents {tuple(encoding.latents.shape)}"] if encoding.latents is not None else []
    return ", ".join(said)


def _measured_bits(encoding: Encoding, batch: int, budget: float | None) -> str:
    payload, bits = encoding.payload or (), encoding.bits or ()
    require(len(payload) == batch, f"payload: expected {batch} items, got {len(payload)}")
    require(len(bits) == batch, f"bits: expected {batch} numbers, got {len(bits)}")
    sizes = tuple(8 * len(item) for item in payload)
    honest = all(said >= size for said, size in zip(bits, sizes, strict=True))
    require(honest, f"bits {bits} are fewer than those of the payload itself, {sizes}")
    require(
        budget is None or max(bits) <= budget, f"bits {bits} exceed the budget of {budget} bits"
    )
    return f"{min(bits)} to {max(bits)} bits per image"


def codebook_range(subject: Subject) -> str:
    """Every index is in [0, codebook_size)."""
    indices = subject.encoding.indices
    if subject.info.kind != "discrete" or indices is None:
        message = f"kind {subject.info.kind} has no codes"
        raise NotApplicable(message)
    low, high = int(indices.min()), int(indices.max())
    size = subject.info.codebook_size
    require(low >= 0 and high < size, f"indices from {low} to {high}; allowed are 0 to {size - 1}")
    return f"{low} to {high} of 0 to {size - 1}"


def decode_contract(subject: Subject) -> str:
    """Images come back: same shape, float32, finite, on the scale of [0, 1]."""
    decoded = subject.decoded
    require_tensor("decoded images", decoded, torch.float32, tuple(subject.images.shape))
    low, high = float(decoded.min()), float(decoded.max())
    require(
        low >= -FARTHEST and high <= 1 + FARTHEST,
        f"values from {low:g} to {high:g}: images are in [0, 1], with small excursions at most",
    )
    outside = float(((decoded < 0) | (decoded > 1)).float().mean())
    return f"values {low:.3f} to {high:.3f}, {outside:.2%} outside [0, 1]"


def features_contract(subject: Subject) -> str:
    """Representations: float32 (B, L, D), finite; equal where an encoding has them at hand."""
    if "features" not in subject.info.cannot and "features" not in subject.view_names:
        message = "there is no `features`; offer it, or say in info.cannot why not"
        raise ValidationFailed(message)
    if not subject.view_names:
        raise NotApplicable(subject.info.cannot["features"])
    said = []
    for name in subject.view_names:
        dims = subject.info.feature_dims if name == "features" else -1
        result = subject.view(name, subject.images)
        require_tensor(name, result, torch.float32, (len(subject.images), -1, dims))
        said.append(f"{name} {tuple(result.shape)}")
        at_hand = subject.encoding.continuous if "encode" not in subject.info.cannot else None
        if name == "continuous" and at_hand is not None:
            apart = relative_difference("the encoding's `continuous`", result, at_hand)
            message = f"the encoding's `continuous` is {apart:.1e} from what `continuous` gives"
            require(apart <= TOLERANCE, message)
    return ", ".join(said)


def benchmark_side(subject: Subject) -> str:
    """At `info.resolution` it works, and positions and latent grid are as declared."""
    info = subject.info
    images = subject.make_images(1, info.resolution)
    encoding = subject.encode(images)
    if encoding.indices is not None and info.kind == "discrete":
        seen = encoding.indices.shape[-1]
        require(seen == info.positions, f"info.positions is {info.positions}, indices have {seen}")
    if encoding.latents is not None:
        grid, expected = tuple(encoding.latents.shape[-2:]), info.resolution // info.downsample
        require(
            grid == (expected, expected),
            f"info.downsample is {info.downsample}, {info.resolution} pixels gave {grid}",
        )
    shape = tuple(subject.decode(encoding).shape)
    require(shape == tuple(images.shape), f"{info.resolution} pixels in, decoded to shape {shape}")
    return f"{info.resolution} pixels"


def grey_input(subject: Subject) -> str:
    """Grey images are accepted; `luma` systems give equal channels."""
    grey = subject.images[:, :1].expand_as(subject.images).contiguous()
    apart = _channel_disagreement(subject.decode(subject.encode(grey)))
    if subject.info.colour == "luma":
        colour = _channel_disagreement(subject.decoded)
        require(
            max(apart, colour) == 0,
            f"colour is declared luma, but output channels differ by up to {max(apart, colour):g}",
        )
    return f"output channels disagree by at most {apart:.3f}"


def _channel_disagreement(images: Tensor) -> float:
    return float((images.amax(dim=1) - images.amin(dim=1)).max())


def _refuse(subject: Subject, cases: Mapping[str, Tensor]) -> str:
    """Each of the batches must be answered with a `UsageError`."""
    advice = "the first call must raise a UsageError: check_images of harness.image_batch does it"
    for what, images in cases.items():
        try:
            subject.feed(images)
        except UsageError:
            continue
        except Exception as error:
            message = f"{what}: raised {type(error).__name__}: {error}; {advice}"
            raise ValidationFailed(message) from error
        message = f"{what}: was accepted; {advice}"
        raise ValidationFailed(message)
    return "refused: " + ", ".join(cases)


def refused_sizes(subject: Subject) -> str:
    """A side that is no multiple of `info.size_multiple` is refused."""
    if subject.info.size_multiple == 1:
        message = "every side is accepted"
        raise NotApplicable(message)
    side = subject.side + 1
    return _refuse(subject, {f"side {side}": subject.make_images(1, side)})


def refused_shapes(subject: Subject) -> str:
    """What is not a batch of square three-channel images is refused."""
    images, width = subject.images, subject.side + subject.info.size_multiple
    return _refuse(
        subject,
        {
            "an image without batch axis": images[0],
            "one channel": images[:, :1],
            f"{subject.side}×{width} pixels": torch.cat([images, images], dim=3)[..., :width],
        },
    )


def refused_values(subject: Subject) -> str:
    """NaN and integer images are refused."""
    spoilt = subject.images.clone()
    spoilt[0, 0, 0, 0] = float("nan")
    as_bytes = (subject.images * 255).round().to(torch.uint8)
    return _refuse(subject, {"a NaN": spoilt, "uint8": as_bytes})
