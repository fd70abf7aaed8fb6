"""Emu3-style tokenizers in the layout of the transformers library (`Emu3VQVAE`).

The network is medbench's own; only the names of its terms and tensors are the library's. A
repository in the authors' own layout is read as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..harness.errors import UsageError
from ..harness.weights import read_state_dict
from ..harness.weights_lock import original_sha256
from .emu3 import Emu3VQ
from .emu3 import build as build_emu3
from .hub_autoencoder import read_config_beside

_TERMS = {
    "base_channels": "ch",
    "channel_multiplier": "ch_mult",
    "latent_channels": "z_channels",
    "double_latent": "double_z",
}
_KEPT_TERMS = (
    "codebook_size",
    "embed_dim",
    "in_channels",
    "out_channels",
    "temporal_downsample_factor",
    "num_res_blocks",
    "attn_resolutions",
)
_KEYS = (
    (re.compile(r"^(model\.)?vqmodel\."), ""),
    (re.compile(r"^encoder\.down_block\.down\."), "encoder.down."),
    (re.compile(r"^decoder\.up_block\.up\."), "decoder.up."),
    (re.compile(r"\.middle_block\.attn_norm\."), ".mid.attn_1.norm."),
    (re.compile(r"\.middle_block\."), ".mid."),
    (re.compile(r"\.attn_norms\.(\d+)\."), r".attn.\1.norm."),
    (re.compile(r"\.(attn_1|attn\.\d+)\.([qkv])_proj\."), r".\1.\2."),
    (re.compile(r"\.(attn_1|attn\.\d+)\.out_proj\."), r".\1.proj_out."),
)
_ATTENTION = re.compile(r"\.(attn_1|attn\.\d+)\.(q|k|v|proj_out)\.weight$")


def upstream_config(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The library's `config.json` in the terms of the authors' constructor."""
    terms = {ours: facts[theirs] for theirs, ours in _TERMS.items() if theirs in facts}
    return terms | {term: facts[term] for term in _KEPT_TERMS if term in facts}


def upstream_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The library's tensors under the authors' keys; attention matrices become 1×1 kernels."""
    renamed = {}
    for key, tensor in state.items():
        for pattern, new in _KEYS:
            key = pattern.sub(new, key)
        flat = _ATTENTION.search(key) is not None and tensor.ndim == 2
        renamed[key] = tensor[:, :, None, None] if flat else tensor
    return renamed


def build(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> Emu3VQ:
    """An Emu3-style tokenizer from its weights file, beside which its `config.json` lies.

    Args:
        variant: revision, or a name for the user's own.
        config: `model`, the name after the prefix.
        weights: the file.
        device: torch device.

    Raises:
        UsageError: another kind of model, or a file that does not fill the network.
        MissingPrerequisite: `config.json` is missing.
    """
    name = f"hf:{(config or {}).get('model', 'model')}"
    if not isinstance(weights, str | Path):
        message = f"{name}: hub models are loaded from a file with config.json beside it"
        raise UsageError(message)
    path = Path(weights)
    facts = read_config_beside(path, name=name)
    kind = str(facts.get("model_type", ""))
    if "emu3" not in kind.lower():
        message = f"{name}: config.json is of type {kind!r}; Emu3-style VQ models are supported"
        raise UsageError(message)
    terms, state = facts, read_state_dict(path)
    if "base_channels" in facts:
        terms, state = upstream_config(facts), upstream_state(state)
    made = build_emu3(variant=variant, config=terms, weights=state, device=device)
    info = replace(
        made.info,
        name=name,
        weights_sha256=original_sha256(path),
        source="Emu3's network with the weights of that repository",
    )
    return Emu3VQ(made.model, info)
