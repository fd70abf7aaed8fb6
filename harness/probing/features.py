"""What a probe reads of a tokenizer: four kinds of features, by name.

`flat`: the quantised latent grid, flattened (the paper's probe). `flat-p`: the same, projected,
where the grid is too long. `mean`: the quantised latent averaged over its positions. `cont-mean`:
the encoder's output before quantisation, averaged over positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from ..errors import NotApplicable, UsageError
from ..protocol import ContinuousTokenizer
from .projection import FLAT_LIMIT, project

if TYPE_CHECKING:
    from torch import Tensor

    from ..protocol import Tokenizer

FeatureKind = Literal["flat", "flat-p", "mean", "cont-mean"]
FEATURE_KINDS: tuple[str, ...] = get_args(FeatureKind)


def features_of(tokenizer: Tokenizer, images: Tensor, kind: FeatureKind) -> Tensor:
    """Features of images, one row each.

    Args:
        tokenizer: as the protocol has it.
        images: float32 (B, 3, H, H) in [0, 1].
        kind: one of `FEATURE_KINDS`.

    Returns:
        float32 (B, d): d is D·h·w for `flat`, `PROJECTED` for `flat-p`, D for `mean`, and the
        encoder's width for `cont-mean`.

    Raises:
        NotApplicable: the tokenizer has no latents, no encoder output, or no grid of the length
            that the kind is for.
        UsageError: an unknown kind.
    """
    if kind == "cont-mean":
        return _before_quantisation(tokenizer, images)
    if kind not in FEATURE_KINDS:
        message = f"unknown features {kind!r}; known: {', '.join(FEATURE_KINDS)}"
        raise UsageError(message)
    latents = tokenizer.encode(images).latents
    if latents is None:
        message = f"{tokenizer.info.full_name} has no latents to probe"
        raise NotApplicable(message)
    return latents.float().mean(dim=(2, 3)) if kind == "mean" else _flat(latents, kind)


def _before_quantisation(tokenizer: Tokenizer, images: Tensor) -> Tensor:
    cannot = tokenizer.info.cannot.get("continuous")
    if cannot is not None or not isinstance(tokenizer, ContinuousTokenizer):
        reason = cannot or "it has no method `continuous`"
        message = f"{tokenizer.info.full_name} has no encoder output to probe: {reason}"
        raise NotApplicable(message)
    return tokenizer.continuous(images).float().mean(dim=1)


def _flat(latents: Tensor, kind: FeatureKind) -> Tensor:
    flat = latents.float().flatten(1)
    needed = "flat-p" if flat.shape[1] > FLAT_LIMIT else "flat"
    if kind != needed:
        message = (
            f"a grid of {flat.shape[1]} numbers is probed as {needed!r}, not {kind!r}: "
            f"{FLAT_LIMIT} is the limit"
        )
        raise NotApplicable(message)
    return project(flat) if kind == "flat-p" else flat
