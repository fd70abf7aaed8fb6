"""Classical codecs at a bit budget per image: what a tokenizer's rate buys without learning.

`jpeg@24576` gives each image the highest quality whose payload has at most 24,576 bits;
`jpeg@meditok` takes the budget from that tokenizer's nominal bits per image. The budget is
per image, whatever its side. What counts is the whole payload: one byte of ours (how often the
side was halved, and whether the image is grey) and the complete file.

* An image whose three channels are equal everywhere is coded as one channel, as a codec's user
  would do, and replicated on decoding.
* Where the lowest quality is too big, the image is first reduced by area average to half its
  side, then to a quarter, and brought back with a bicubic filter after decoding (Pillow's:
  a = -0.5). Where even that is too big the system is not applicable at this rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..harness.errors import NotApplicable, UsageError
from ..harness.image_batch import check_images
from ..harness.protocol import Encoding, TokenizerInfo
from .codec_formats import FORMATS, CodecFormat
from .codec_search import highest_fitting

if TYPE_CHECKING:
    from collections.abc import Mapping

_HALVINGS = (0, 1, 2)
_HALVINGS_MASK = 0b011
_GREY_FLAG = 0b100
_HEADER_BYTES = 1


class Codec:
    """An image codec that stays within `budget_bits` for every image."""

    def __init__(
        self, info: TokenizerInfo, codec: CodecFormat, *, budget_bits: int, device: str
    ) -> None:
        self.info = info
        self._codec = codec
        self._budget_bits = budget_bits
        self._device = device

    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> payload and measured bits of each image.

        The codec sees uint8: values are multiplied by 255 and rounded half to even.

        Raises:
            UsageError: not such a batch, or H is not a multiple of 4.
            NotApplicable: an image does not fit the budget even at a quarter of the side.
        """
        check_images(images, tokenizer=self.info.full_name, size_multiple=self.info.size_multiple)
        pixels = (images.detach().cpu() * 255).round().to(torch.uint8)
        payload = tuple(self._code(one) for one in pixels.permute(0, 2, 3, 1).numpy())
        return Encoding(payload=payload, bits=tuple(8 * len(one) for one in payload))

    def decode(self, encoding: Encoding) -> Tensor:
        """Payload -> float32 (B, 3, H, H) in [0, 1], multiples of 1/255.

        Raises:
            UsageError: there is no payload, it is not from this codec, or the sides differ.
        """
        if not encoding.payload:
            message = f"{self.info.full_name}: decode needs the payload that encode gave, got none"
            raise UsageError(message)
        arrays = [self._restore(one) for one in encoding.payload]
        sides = {array.shape[0] for array in arrays}
        if len(sides) > 1:
            message = f"{self.info.full_name}: one batch, one side; got sides {sorted(sides)}"
            raise UsageError(message)
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
        return (pixels.float() / 255).contiguous().to(self._device)

    def features(self, images: Tensor) -> Tensor:
        """Refused: a codec has none.

        Raises:
            NotApplicable: always.
        """
        message = f"{self.info.full_name}: {self.info.cannot['features']} ({len(images)} images)"
        raise NotApplicable(message)

    def _code(self, pixels: np.ndarray) -> bytes:
        """uint8 (H, H, 3) -> header byte and file."""
        grey = bool((pixels == pixels[..., :1]).all())
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels))
        stream_budget = self._budget_bits // 8 - _HEADER_BYTES
        for halvings in _HALVINGS:
            small = image.reduce(2**halvings)
            fit = highest_fitting(
                lambda quality, small=small: self._codec.write(small, quality),
                self._codec.qualities,
                budget_bytes=stream_budget,
                lookahead=self._codec.lookahead,
            )
            if fit is not None:
                return bytes([halvings | (_GREY_FLAG if grey else 0)]) + fit.stream
        message = (
            f"{self.info.full_name}: an image of side {image.width} does not fit in "
            f"{self._budget_bits} bits even at a quarter of the side and the lowest quality: "
            "not applicable at this rate"
        )
        raise NotApplicable(message)

    def _restore(self, payload: bytes) -> np.ndarray:
        """Header byte and file -> uint8 (H, H, 3)."""
        halvings, grey = payload[0] & _HALVINGS_MASK, bool(payload[0] & _GREY_FLAG)
        try:
            image = self._codec.read(payload[_HEADER_BYTES:])
        except OSError as error:
            message = f"{self.info.full_name}: the payload is not readable: {error}"
            raise UsageError(message) from error
        image = image.convert("L" if grey else "RGB")
        if halvings:
            side = image.width * 2**halvings
            image = image.resize((side, side), Image.Resampling.BICUBIC)
        return np.array(image.convert("RGB"))


def _budget_bits(name: str, config: Mapping[str, Any] | None) -> int:
    """The budget in `{"budget_bits": …}`."""
    given = dict(config or {})
    budget = given.pop("budget_bits", None)
    if given or isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        message = (
            f"{name}: config must be {{'budget_bits': N}} with N a positive integer, the bits "
            f"per image; got {config}. By name: {name}@24576 or {name}@meditok"
        )
        raise UsageError(message)
    return budget


def _build(
    name: str, *, variant: str, config: Mapping[str, Any] | None, weights: object, device: str
) -> Codec:
    if weights is not None:
        message = f"{name}: a codec takes no weights; leave them out"
        raise UsageError(message)
    budget = _budget_bits(name, config)
    codec = FORMATS[name]
    info = TokenizerInfo(
        name=name,
        variant=variant,
        kind="codec",
        size_multiple=2 ** _HALVINGS[-1],
        training_data="none",
        code_licence=codec.licence,
        weights_licence="no weights",
        source=codec.require(),
        bits_per_image=float(budget),
        cannot={"features": "a codec has none", "continuous": "a codec has no encoder network"},
    )
    return Codec(info, codec, budget_bits=budget, device=device)


def build_jpeg(
    *, variant: str, config: Mapping[str, Any] | None, weights: object, device: str
) -> Codec:
    """Baseline JPEG, 4:2:0, optimised Huffman tables, quality 1 to 95.

    Args:
        variant: as the user named it: the bits, or a tokenizer.
        config: `{"budget_bits": N}`, bits per image.
        weights: must be None.
        device: where decoded images go.

    Raises:
        UsageError: no budget, or anything besides it.
    """
    return _build("jpeg", variant=variant, config=config, weights=weights, device=device)


def build_webp(
    *, variant: str, config: Mapping[str, Any] | None, weights: object, device: str
) -> Codec:
    """Lossy WebP, method 6, quality 0 to 100; arguments and errors as `build_jpeg`."""
    return _build("webp", variant=variant, config=config, weights=weights, device=device)


def build_avif(
    *, variant: str, config: Mapping[str, Any] | None, weights: object, device: str
) -> Codec:
    """AVIF, speed 8, one thread, 4:2:0 (4:0:0 where grey), quality 0 to 100.

    Arguments and errors as `build_jpeg`.

    Raises:
        MissingPrerequisite: this Pillow has no AVIF.
    """
    return _build("avif", variant=variant, config=config, weights=weights, device=device)
