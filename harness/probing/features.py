"""What a probe reads of a tokenizer: four kinds of features, by name.

`flat`: the quantised latent grid, flattened (the paper's probe). `flat-p`: the same, projected,
where the grid is too long. `mean`: the quantised latent averaged over its positions. `cont-mean`:
the encoder's output before quantisation, averaged over positions.

An encoder alone, which quantises nothing, is probed by its tokens: they are its grid and its
output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ..errors import NotApplicable, UsageError
from ..protocol import ContinuousTokenizer
from .projection import FLAT_LIMIT, project

if TYPE_CHECKING:
    from torch import Tensor

    from ..protocol import Tokenizer

FeatureKind = Literal["flat", "flat-p", "mean", "cont-mean"]
FEATURE_KINDS: tuple[FeatureKind, ...] = get_args(FeatureKind)


@dataclass(frozen=True, slots=True)
class KindsFound:
    """Which kinds of features a tokenizer has.

    Attributes:
        present: in the order of `FEATURE_KINDS`.
        absent: why it has no others; of `flat` and `flat-p` only where it has neither.
    """

    present: tuple[FeatureKind, ...]
    absent: Mapping[str, str]


def find_kinds(tokenizer: Tokenizer, images: Tensor) -> KindsFound:
    """Try every kind on some images, float32 (B, 3, H, H) in [0, 1]."""
    present: list[FeatureKind] = []
    absent: dict[str, str] = {}
    for kind in FEATURE_KINDS:
        try:
            features_of(tokenizer, images, kind)
        except NotApplicable as error:
            absent[kind] = str(error)
        else:
            present.append(kind)
    if "flat" in present or "flat-p" in present:
        absent = {kind: reason for kind, reason in absent.items() if "flat" not in kind}
    return KindsFound(tuple(present), absent)


def features_of(tokenizer: Tokenizer, images: Tensor, kind: FeatureKind) -> Tensor:
    """Features of images, one row each: `features_by_kind` of a single kind."""
    return features_by_kind(tokenizer, images, [kind])[kind]


def features_by_kind(
    tokenizer: Tokenizer, images: Tensor, kinds: Sequence[FeatureKind]
) -> dict[FeatureKind, Tensor]:
    """Features of images, several kinds from one encoding.

    Args:
        tokenizer: as the protocol has it.
        images: float32 (B, 3, H, H) in [0, 1].
        kinds: of `FEATURE_KINDS`.

    Returns:
        float32 (B, d) each: d is D·h·w for `flat`, `PROJECTED` for `flat-p`, D for `mean`, and the
        encoder's width for `cont-mean`.

    Raises:
        NotApplicable: the tokenizer has no latents, no encoder output, or no grid of the length
            that a kind is for.
        UsageError: an unknown kind.
    """
    unknown = [kind for kind in kinds if kind not in FEATURE_KINDS]
    if unknown:
        message = f"unknown features {unknown[0]!r}; known: {', '.join(FEATURE_KINDS)}"
        raise UsageError(message)
    if _is_encoder_alone(tokenizer):
        return _of_tokens(tokenizer, images, kinds)
    found: dict[FeatureKind, Tensor] = {}
    at_hand: Tensor | None = None
    from_latents: list[FeatureKind] = [kind for kind in kinds if kind != "cont-mean"]
    if from_latents:
        encoding = tokenizer.encode(images)
        at_hand = encoding.continuous
        if encoding.latents is None:
            message = f"{tokenizer.info.full_name} has no latents to probe"
            raise NotApplicable(message)
        found = {kind: _of_grid(encoding.latents.float(), kind) for kind in from_latents}
    if "cont-mean" in kinds:
        before = _before_quantisation(tokenizer, images) if at_hand is None else at_hand
        found["cont-mean"] = before.float().mean(dim=1)
    return found


def _is_encoder_alone(tokenizer: Tokenizer) -> bool:
    cannot = tokenizer.info.cannot
    return "encode" in cannot and "features" not in cannot


def _of_tokens(
    tokenizer: Tokenizer, images: Tensor, kinds: Sequence[FeatureKind]
) -> dict[FeatureKind, Tensor]:
    if "mean" in kinds:
        message = f"{tokenizer.info.full_name} quantises nothing: its mean is `cont-mean`"
        raise NotApplicable(message)
    tokens = tokenizer.features(images).float()
    return {
        kind: tokens.mean(dim=1) if kind == "cont-mean" else _of_grid(tokens.transpose(1, 2), kind)
        for kind in kinds
    }


def _before_quantisation(tokenizer: Tokenizer, images: Tensor) -> Tensor:
    cannot = tokenizer.info.cannot.get("continuous")
    if cannot is not None or not isinstance(tokenizer, ContinuousTokenizer):
        reason = cannot or "it has no method `continuous`"
        message = f"{tokenizer.info.full_name} has no encoder output to probe: {reason}"
        raise NotApplicable(message)
    return tokenizer.continuous(images)


def _of_grid(grid: Tensor, kind: FeatureKind) -> Tensor:
    """(B, D, ...) -> (B, d)."""
    if kind == "mean":
        return grid.flatten(2).mean(dim=2)
    flat = grid.flatten(1)
    needed = "flat-p" if flat.shape[1] > FLAT_LIMIT else "flat"
    if kind != needed:
        message = (
            f"a grid of {flat.shape[1]} numbers is probed as {needed!r}, not {kind!r}: "
            f"{FLAT_LIMIT} is the limit"
        )
        raise NotApplicable(message)
    return project(flat) if kind == "flat-p" else flat
