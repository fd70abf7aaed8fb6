"""Is what a tokenizer says of itself complete and consistent?"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, get_args

from ..errors import ValidationFailed
from ..protocol import Ability, Colour, Kind, Layout, TokenizerInfo, code_bits
from ..vocabulary import MODALITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

_FULL_NAME = re.compile(r"[^\s@/]+@[^\s/]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BITS_PER_LATENT_VALUE = 16


def check_info(info: TokenizerInfo) -> str:
    """Check vocabularies, sizes and the bits formula.

    Returns:
        A line with the name, kind and bits.

    Raises:
        ValidationFailed: with all problems at once.
    """
    problems = [*_words(info), *_sizes(info), *_bits(info)]
    if problems:
        raise ValidationFailed("; ".join(problems))
    bits = "no bits" if info.bits_per_image is None else f"{info.bits_per_image:g} bits per image"
    return f"{info.full_name}, {info.kind}, {bits}"


def _words(info: TokenizerInfo) -> Iterator[str]:
    for name, words in (("kind", Kind), ("layout", Layout), ("colour", Colour)):
        value = getattr(info, name)
        if value not in get_args(words):
            yield f"{name} is {value!r}; allowed: {', '.join(get_args(words))}"
    if not _FULL_NAME.fullmatch(info.full_name):
        yield f"{info.full_name!r} is not name@variant without spaces and slashes"
    if info.weights_sha256 is not None and not _SHA256.fullmatch(info.weights_sha256):
        yield f"weights_sha256 is {info.weights_sha256!r}, expected 64 hexadecimal digits or None"
    strange = [m for m in info.modalities if m not in MODALITIES]
    if strange:
        yield f"modalities {strange} are unknown; allowed: {', '.join(MODALITIES)}"
    for ability, reason in info.cannot.items():
        if ability not in get_args(Ability):
            yield f"cannot has {ability!r}; allowed: {', '.join(get_args(Ability))}"
        elif not reason.strip():
            yield f"cannot gives no reason for {ability!r}"


def _sizes(info: TokenizerInfo) -> Iterator[str]:
    needed = {"resolution": 1, "size_multiple": 1, "downsample": 1}
    if info.kind == "discrete":
        needed |= {"codebooks": 1, "codebook_size": 2, "positions": 1}
    if info.kind in {"discrete", "continuous"} and "encode" not in info.cannot:
        needed |= {"latent_dims": 1}
        if "features" not in info.cannot:
            needed |= {"feature_dims": 1}
    for name, least in needed.items():
        value = getattr(info, name)
        if value < least:
            yield f"{name} is {value}, expected at least {least}"
    if info.size_multiple >= 1 and info.resolution % info.size_multiple:
        yield f"resolution {info.resolution} is not a multiple of {info.size_multiple}"
    if info.kind == "discrete" and info.layout == "none":
        yield "layout is 'none', but a discrete tokenizer has positions: raster or scales"


def _bits(info: TokenizerInfo) -> Iterator[str]:
    bits = info.bits_per_image
    if info.kind == "bound":
        if bits is not None:
            yield f"bits_per_image is {bits}; a bound has none"
        return
    if bits is None and "encode" in info.cannot:
        return
    if bits is None:
        yield "bits_per_image is missing"
    elif info.kind == "codec":
        if not bits > 0:
            yield f"bits_per_image is {bits}; expected the budget, above 0"
    elif not any(_sizes(info)):
        expected = _nominal_bits(info)
        if not math.isclose(bits, expected, rel_tol=1e-6):
            yield f"bits_per_image is {bits:g}, but the declared shapes give {expected:g}"


def _nominal_bits(info: TokenizerInfo) -> float:
    if info.kind == "discrete":
        return code_bits(info.codebooks, info.positions, info.codebook_size)
    cells = (info.resolution // info.downsample) ** 2
    return float(info.latent_dims * cells * _BITS_PER_LATENT_VALUE)
