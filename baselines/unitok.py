"""UniTok (Ma et al. 2025, arXiv:2502.20321) as the harness speaks to it: MedITok's network.

The two differ in the attention of the projections into and out of the latent. UniTok's file since
2025-04-02 sees all positions; its first release, like MedITok, only earlier ones. Keys and shapes
are the same, so that no loader can tell them apart: the configuration term `causal` says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..harness.checkpoint import checkpoint_of
from ..harness.model_card import read_model_card
from ..tokenizers.meditok import MedITok
from ..tokenizers.meditok_config import MedITokConfig
from ..tokenizers.meditok_network import build_network, describe, take_causal
from .unitok_catalogue import ENTRY, OFFICIAL_CONFIG

_CARD = read_model_card(Path(__file__).parent / "cards" / "unitok.yaml")


class UniTok(MedITok):
    """A UniTok network behind the `Tokenizer` protocol."""


def build(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> UniTok:
    """A UniTok with weights.

    Args:
        variant: `official`, `official-causal`, or a name for the user's own.
        config: upstream's terms as for MedITok, and `causal` (false where it is left out); None
            takes the variant's, or for own weights the published ones.
        weights: a file, a state dict in upstream's keys, or None for the variant's own.
        device: torch device.

    Raises:
        UsageError: configuration or checkpoint are wrong, or do not fit together.
        MissingPrerequisite: the variant's weights are not on this machine.
    """
    name = f"unitok@{variant}"
    declared = ENTRY.variants.get(variant)
    checkpoint = checkpoint_of(ENTRY, variant, weights, config=config)
    if config is None:
        config = declared.config if declared is not None else None
    terms = dict(OFFICIAL_CONFIG if config is None else config)
    causal = take_causal(terms, default=False, name=name)
    parsed = MedITokConfig.from_mapping(terms)
    model = build_network(parsed, checkpoint.state, name=name, causal=causal)
    provenance = _CARD.provenance(variant)
    attention = "causal" if causal else "full"
    provenance = replace(provenance, source=f"{provenance.source}; {attention} attention")
    info = describe(model, name, provenance=provenance, weights_sha256=checkpoint.sha256)
    return UniTok(model.to(device), info)
