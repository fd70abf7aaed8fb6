"""VQGAN and MedVAE as the registry reads them. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..harness.entries import HubFile, ManualFile, TokenizerEntry, Variant
from ..harness.packaged import packaged_weights, tiny_variants
from .taming_config import MedVAEConfig, VQGANConfig

_CARDS = Path(__file__).parent / "cards"
_WEIGHTS = packaged_weights(Path(__file__).parent / "weights")

VQGAN_F8_CONFIG: dict[str, Any] = {
    "embed_dim": 4,
    "n_embed": 16384,
    "ddconfig": {
        "double_z": False,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 2, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [32],
        "dropout": 0.0,
    },
}
"""OpenImages, f8, 16384 codes, in upstream's terms."""

VQGAN_F16_CONFIG: dict[str, Any] = {
    "embed_dim": 256,
    "n_embed": 16384,
    "ddconfig": VQGAN_F8_CONFIG["ddconfig"]
    | {"z_channels": 256, "ch_mult": [1, 1, 2, 2, 4], "attn_resolutions": [16]},
}
"""ImageNet, f16, 16384 codes."""

VQGAN_TINY_CONFIG: dict[str, Any] = VQGAN_F8_CONFIG | {
    "ddconfig": VQGAN_F8_CONFIG["ddconfig"]
    | {"ch": 16, "ch_mult": [1, 1, 2, 7], "num_res_blocks": 1, "norm_groups": 4},
}
"""2.1 M parameters; the codebook, and so the bit rate, is that of the published f8 network."""

VQGAN_SOURCES: dict[str, str] = {
    "official": "the archive https://ommer-lab.com/files/latent-diffusion/vq-f8.zip",
    "imagenet-f16": "the checkpoint 'VQGAN ImageNet (f=16), 16384' from the table in "
    "https://github.com/CompVis/taming-transformers#overview-of-pretrained-models",
}
"""Where the files lie that are on no hub, by variant; they are fetched by hand."""


def _medvae_config(channels: int, embed_dim: int, ch_mult: list[int]) -> dict[str, Any]:
    return {
        "embed_dim": embed_dim,
        "ddconfig": {
            "double_z": True,
            "z_channels": embed_dim,
            "resolution": 256,
            "in_channels": channels,
            "out_ch": channels,
            "ch": 128,
            "ch_mult": ch_mult,
            "num_res_blocks": 2,
            "attn_resolutions": [],
            "dropout": 0.0,
        },
    }


MEDVAE_8_1_CONFIG = _medvae_config(1, 1, [1, 2, 4, 4])
MEDVAE_4_1_CONFIG = _medvae_config(1, 1, [1, 2, 4])
MEDVAE_8_4_CONFIG = _medvae_config(3, 4, [1, 2, 4, 4]) | {"lora_rank": 4}
MEDVAE_4_3_CONFIG = _medvae_config(3, 3, [1, 2, 4]) | {"lora_rank": 4}

MEDVAE_TINY_CONFIG: dict[str, Any] = MEDVAE_8_1_CONFIG | {
    "apply_channel_ds": False,
    "ddconfig": MEDVAE_8_1_CONFIG["ddconfig"]
    | {"ch": 16, "ch_mult": [1, 1, 2, 7], "num_res_blocks": 1, "norm_groups": 4},
}
"""1.9 M parameters; the latent is that of the published 8x, one-channel network."""


def _medvae_variant(
    config: dict[str, Any], file: str, megabytes: int, *, passes: int = 1
) -> Variant:
    parsed = MedVAEConfig.from_mapping(config)
    channels = {1: "one channel", 3: "three channels"}[parsed.trunk.in_channels]
    return Variant(
        summary=f"published {file}: f{parsed.trunk.downsample}, {channels}, "
        f"{parsed.embed_dim}-channel latent",
        config=config,
        weights=HubFile(
            repository="stanfordmimi/MedVAE",
            filename=f"model_weights/{file}",
            licence="MIT",
            size_bytes=megabytes * 1_000_000,
        ),
        bits_per_image=parsed.bits_per_image(passes),
    )


def _medvae_tiny(*, passes: int) -> dict[str, Variant]:
    bits = MedVAEConfig.from_mapping(MEDVAE_TINY_CONFIG).bits_per_image(passes)
    return tiny_variants(
        "medvae", MEDVAE_TINY_CONFIG, weights=_WEIGHTS, bits_per_image=bits, parameters="1.9 M"
    )


ENTRIES: tuple[TokenizerEntry, ...] = (
    TokenizerEntry(
        name="vqgan",
        card=_CARDS / "vqgan.yaml",
        target="medbench.baselines.vqgan:build",
        kind="discrete",
        default_variant="official",
        summary="VQGAN (taming-transformers): one codebook on a convolutional grid",
        variants={
            "official": Variant(
                summary="OpenImages, f8, 16384 codes",
                config=VQGAN_F8_CONFIG,
                weights=ManualFile(VQGAN_SOURCES["official"]),
                bits_per_image=VQGANConfig.from_mapping(VQGAN_F8_CONFIG).bits_per_image,
            ),
            "imagenet-f16": Variant(
                summary="ImageNet, f16, 16384 codes",
                config=VQGAN_F16_CONFIG,
                weights=ManualFile(VQGAN_SOURCES["imagenet-f16"]),
                bits_per_image=VQGANConfig.from_mapping(VQGAN_F16_CONFIG).bits_per_image,
            ),
        }
        | tiny_variants(
            "vqgan",
            VQGAN_TINY_CONFIG,
            weights=_WEIGHTS,
            bits_per_image=VQGANConfig.from_mapping(VQGAN_TINY_CONFIG).bits_per_image,
            parameters="2.1 M",
        ),
    ),
    TokenizerEntry(
        name="medvae",
        card=_CARDS / "medvae.yaml",
        target="medbench.baselines.medvae:build",
        kind="continuous",
        default_variant="official",
        summary="MedVAE: continuous latent of a medical autoencoder; sees luma, answers in grey",
        variants={
            "official": _medvae_variant(MEDVAE_8_1_CONFIG, "vae_8x_1c_2D.ckpt", 335),
            "4x-1c": _medvae_variant(MEDVAE_4_1_CONFIG, "vae_4x_1c_2D.ckpt", 221),
            "8x-4c": _medvae_variant(MEDVAE_8_4_CONFIG, "vae_8x_4c_2D.ckpt", 338),
            "4x-3c": _medvae_variant(MEDVAE_4_3_CONFIG, "vae_4x_3c_2D.ckpt", 224),
        }
        | _medvae_tiny(passes=1),
    ),
    TokenizerEntry(
        name="medvae-rgb",
        card=_CARDS / "medvae.yaml",
        target="medbench.baselines.medvae:build_rgb",
        kind="continuous",
        default_variant="official",
        summary="MedVAE on red, green and blue one after the other: three times the bits",
        variants={
            "official": _medvae_variant(MEDVAE_8_1_CONFIG, "vae_8x_1c_2D.ckpt", 335, passes=3),
            "4x-1c": _medvae_variant(MEDVAE_4_1_CONFIG, "vae_4x_1c_2D.ckpt", 221, passes=3),
        }
        | _medvae_tiny(passes=3),
    ),
)
