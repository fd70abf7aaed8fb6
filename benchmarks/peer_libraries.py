"""Libraries that implement a tokenizer too, filled with weights under upstream's keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Settings = Mapping[str, Any]


def nearest_by_distances(vectors: Tensor, codes: Tensor) -> Tensor:
    """The usual formulation: the argmin of the whole matrix of distances."""
    return torch.cdist(vectors, codes).argmin(dim=1)


def vq_model(config: Settings, weights: Mapping[str, Tensor]) -> Any:
    """diffusers' VQModel for a configuration of taming's VQModel."""
    import diffusers

    model = diffusers.VQModel(
        **_trunk(config["ddconfig"]),
        latent_channels=config["ddconfig"]["z_channels"],
        num_vq_embeddings=config["n_embed"],
        vq_embed_dim=config["embed_dim"],
    )
    model.load_state_dict(_renamed(weights, len(config["ddconfig"]["ch_mult"])))
    return model.eval().requires_grad_(False)


def autoencoder_kl(config: Settings, weights: Mapping[str, Tensor]) -> Any:
    """diffusers' AutoencoderKL for a configuration of MedVAE's, whose projections it lacks."""
    import diffusers

    model = diffusers.AutoencoderKL(
        **_trunk(config["ddconfig"]), latent_channels=config["embed_dim"]
    )
    own = {k: v for k, v in weights.items() if not k.startswith("channel_")}
    model.load_state_dict(_renamed(own, len(config["ddconfig"]["ch_mult"])))
    return model.eval().requires_grad_(False)


def _trunk(sizes: Settings) -> dict[str, Any]:
    sides = [sizes["resolution"] >> level for level in range(len(sizes["ch_mult"]))]
    attends = ["Attn" if side in sizes["attn_resolutions"] else "" for side in sides]
    return {
        "in_channels": sizes["in_channels"],
        "out_channels": sizes["out_ch"],
        "down_block_types": [f"{a}DownEncoderBlock2D" for a in attends],
        "up_block_types": [f"{a}UpDecoderBlock2D" for a in reversed(attends)],
        "block_out_channels": [sizes["ch"] * multiple for multiple in sizes["ch_mult"]],
        "layers_per_block": sizes["num_res_blocks"],
        "norm_num_groups": 32,
        "act_fn": "silu",
    }


_RENAMES = (
    (r"nin_shortcut", "conv_shortcut"),
    (r"^(encoder|decoder)\.norm_out", r"\1.conv_norm_out"),
    (r"encoder\.down\.(\d+)\.", r"encoder.down_blocks.\1."),
    (r"\.block\.(\d+)", r".resnets.\1"),
    (r"\.attn\.(\d+)", r".attentions.\1"),
    (r"\.(down|up)sample\.", r".\1samplers.0."),
    (r"\.mid\.block_1", ".mid_block.resnets.0"),
    (r"\.mid\.block_2", ".mid_block.resnets.1"),
    (r"\.mid\.attn_1", ".mid_block.attentions.0"),
)
_IN_ATTENTION = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}


def _renamed(weights: Mapping[str, Tensor], levels: int) -> dict[str, Tensor]:
    """taming's keys -> diffusers'; attention's 1×1 convolutions become matrices."""
    renamed = {}
    for key, value in weights.items():
        for pattern, replacement in _RENAMES:
            key = re.sub(pattern, replacement, key)
        key = re.sub(
            r"decoder\.up\.(\d+)\.", lambda m: f"decoder.up_blocks.{levels - 1 - int(m[1])}.", key
        )
        if inside := re.fullmatch(r"(.*\.attentions\.\d+)\.(\w+)\.(weight|bias)", key):
            key = f"{inside[1]}.{_IN_ATTENTION[inside[2]]}.{inside[3]}"
            value = value.flatten(1) if value.ndim == 4 else value
        renamed[key] = value
    return renamed


def emu3(config: Settings, weights: Mapping[str, Tensor]) -> Any:
    """transformers' Emu3VQVAE for a configuration of Emu3's vision tokenizer."""
    from transformers import Emu3VQVAE, Emu3VQVAEConfig

    names = {
        "ch": "base_channels",
        "ch_mult": "channel_multiplier",
        "z_channels": "latent_channels",
    }
    known = {"codebook_size", "embed_dim", "in_channels", "out_channels", "num_res_blocks"}
    known |= {"temporal_downsample_factor", "attn_resolutions"}
    terms = {names.get(k, k): v for k, v in config.items() if k in known | set(names)}
    model = Emu3VQVAE(
        Emu3VQVAEConfig(
            **terms,
            double_latent=False,
            hidden_size=config["ch"] * config["ch_mult"][-1],
            num_attention_heads=1,
        )
    )
    model.load_state_dict(_emu3_renamed(weights))
    return model.eval().requires_grad_(False)


_EMU3_RENAMES = (
    (r"^encoder\.down\.", "encoder.down_block.down."),
    (r"^decoder\.up\.", "decoder.up_block.up."),
    (r"\.mid\.block_", ".middle_block.block_"),
    (r"\.mid\.attn_1\.norm\b", ".middle_block.attn_norm"),
    (r"\.mid\.attn_1\.", ".middle_block.attn_1."),
    (r"\.attn\.(\d+)\.norm\b", r".attn_norms.\1"),
    (r"(\.attn(?:\.\d+|_1))\.([qkv])\.", r"\1.\2_proj."),
    (r"(\.attn(?:\.\d+|_1))\.proj_out\.", r"\1.out_proj."),
)


def _emu3_renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for key, value in weights.items():
        for pattern, replacement in _EMU3_RENAMES:
            key = re.sub(pattern, replacement, key)
        matrix = key.endswith("_proj.weight")
        renamed[key] = value.flatten(1) if matrix else value
    return renamed


def vitamin(name: str, weights: Mapping[str, Tensor]) -> Any:
    """timm's own ViTamin with the weights of MedITok's encoder."""
    import timm

    model = timm.create_model(
        {"vitamin_base": "vitamin_base_224", "vitamin_large": "vitamin_large_256"}[name],
        img_size=256,
        pos_embed="none",
        num_classes=0,
        global_pool="",
        act_layer="gelu_tanh",
    )
    prefix = "encoder."
    own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    own.pop("pos_embed")
    model.load_state_dict(own)
    return model.eval().requires_grad_(False)
