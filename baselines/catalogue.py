"""What tokenizers are compared with, as the registry reads it. Imports no torch."""

from __future__ import annotations

from ..harness.entries import Family, TokenizerEntry, Variant
from . import emu3_pumit_catalogue, taming_catalogue, tokenflow_catalogue, unitok_catalogue


def _bound(name: str, summary: str) -> TokenizerEntry:
    return TokenizerEntry(
        name=name,
        target=f"medbench.baselines.bounds:build_{name}",
        kind="bound",
        default_variant="reference",
        summary=summary,
        variants={"reference": Variant(summary="the only one; no bits, never ranked")},
    )


def _codec(name: str, summary: str) -> TokenizerEntry:
    return TokenizerEntry(
        name=name,
        target=f"medbench.baselines.codecs:build_{name}",
        kind="codec",
        default_variant="meditok",
        summary=summary,
        free_variant="BITS or TOKENIZER: the budget per image",
    )


ENTRIES: tuple[TokenizerEntry, ...] = (
    _bound("mean", "bound: the mean colour of each image"),
    _bound("down8", "bound: 8×8 area average, bicubic back"),
    _bound("down16", "bound: 16×16 area average, bicubic back"),
    _bound("pixels", "bound: the image at 64×64 pixels, the probe's reference row"),
    _codec("jpeg", "codec: baseline JPEG at a bit budget per image"),
    _codec("webp", "codec: lossy WebP at a bit budget per image"),
    _codec("avif", "codec: AVIF at a bit budget per image"),
    *taming_catalogue.ENTRIES,
    *emu3_pumit_catalogue.ENTRIES,
    *tokenflow_catalogue.ENTRIES,
    *unitok_catalogue.ENTRIES,
)

_HUB = "medbench.baselines.hub_resolve"

FAMILIES: tuple[Family, ...] = (
    Family(
        "diffusers",
        f"{_HUB}:diffusers",
        "continuous",
        "diffusers:REPO or a folder: AutoencoderKL and VQModel of the diffusers library",
    ),
    Family("hf", f"{_HUB}:hugging_face", "discrete", "hf:REPO or a folder: Emu3-style VQ models"),
    Family("timm", f"{_HUB}:timm", "continuous", "timm:NAME: image encoders, features only"),
    Family(
        "open_clip",
        f"{_HUB}:open_clip",
        "continuous",
        "open_clip:MODEL/WEIGHTS: image towers, features only",
    ),
)
