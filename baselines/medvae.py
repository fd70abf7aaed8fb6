"""MedVAE (Varma et al. 2025, arXiv:2502.14753) as the harness speaks to it.

Upstream samples from the posterior and stretches each image to its own minimum and maximum. Here
the posterior's mean is taken, and brightness is left as it is: every tokenizer gets the same image.

`medvae` gives a one-channel network the image's luma and answers in grey; `medvae-rgb` runs it on
red, green and blue one after the other, at three times the bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.checkpoint import checkpoint_of
from ..harness.errors import UsageError
from ..harness.image_batch import check_images
from ..harness.model_card import read_model_card
from ..harness.protocol import Encoding, TokenizerInfo
from ..harness.weights import load_into
from .medvae_lora import merge_adapters
from .medvae_model import MedVAEModel
from .taming_adapter import (
    DROPPED_KEYS,
    checked_latents,
    network_images,
    protocol_images,
    published_config,
    tokens,
)
from .taming_catalogue import ENTRIES
from .taming_config import BENCHMARK_SIDE, MedVAEConfig

_ENTRIES = {entry.name: entry for entry in ENTRIES if entry.name.startswith("medvae")}
_CARD = read_model_card(Path(__file__).parent / "cards" / "medvae.yaml")


class MedVAE:
    """A MedVAE behind the `Tokenizer` protocol.

    Args:
        model: the network with its weights; it is put in evaluation mode.
        info: what records repeat; with three times the network's latent channels, the network
            runs on each colour channel alone.
    """

    def __init__(self, model: MedVAEModel, info: TokenizerInfo) -> None:
        self.model = model.eval().requires_grad_(False)
        self.info = info
        self._passes = info.latent_dims // model.config.embed_dim
        self._device = next(model.parameters()).device

    @torch.no_grad()
    def encode(self, images: Tensor) -> Encoding:
        """float32 (B, 3, H, H) in [0, 1] -> latents (B, D, h, w), the posterior's mean."""
        latents = self._together(self._mean(images))
        return Encoding(latents=latents, continuous=tokens(latents))

    @torch.no_grad()
    def decode(self, encoding: Encoding) -> Tensor:
        """Latents -> float32 (B, 3, H, H), not clamped.

        Raises:
            UsageError: they are absent, not finite, or of another kind or shape.
        """
        latents = checked_latents(encoding.latents, self.info).to(self._device)
        apart = latents.reshape(-1, self.model.config.embed_dim, *latents.shape[2:])
        return protocol_images(self._together(self.model.decode_latent(apart)))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> upstream's projection of the latent's mean (B, L, D)."""
        return tokens(self._together(self.model.project(self._mean(images))))

    @torch.no_grad()
    def continuous(self, images: Tensor) -> Tensor:
        """float32 (B, 3, H, H) -> the latent's mean (B, L, D)."""
        return tokens(self._together(self._mean(images)))

    def _mean(self, images: Tensor) -> Tensor:
        check_images(images, tokenizer=self.info.full_name, size_multiple=self.info.size_multiple)
        images = images.to(self._device)
        if self._passes == 1:
            x = network_images(images, self.model.config.trunk.in_channels)
        else:
            x = images.flatten(0, 1).unsqueeze(1) * 2 - 1
        return self.model.encode(x).mean

    def _together(self, maps: Tensor) -> Tensor:
        """The passes of an image side by side: (B·passes, C, h, w) -> (B, passes·C, h, w)."""
        return maps.reshape(-1, self._passes * maps.shape[1], *maps.shape[2:])


def build(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> MedVAE:
    """`medvae`: a MedVAE with weights, one pass per image.

    Args:
        variant: `official`, another published one, or a name for the user's own.
        config: the terms of upstream's `AutoencoderKL_2D`, and `lora_rank`; None takes the
            variant's, or for own weights the published configuration with the checkpoint's outline.
        weights: a file, a state dict in upstream's keys, or None for the variant's own.
        device: torch device.

    Raises:
        UsageError: configuration or checkpoint are wrong, or do not fit together.
        MissingPrerequisite: the variant's weights are not on this machine.
    """
    name = f"medvae@{variant}"
    return _build(name, passes=1, config=config, weights=weights, device=device)


def build_rgb(
    *,
    variant: str,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | Path | str | None = None,
    device: str = "cpu",
) -> MedVAE:
    """`medvae-rgb`: a one-channel MedVAE that runs on red, green and blue; otherwise as `build`.

    Raises:
        UsageError: as `build`, or the network sees colour by itself.
        MissingPrerequisite: the variant's weights are not on this machine.
    """
    name = f"medvae-rgb@{variant}"
    return _build(name, passes=3, config=config, weights=weights, device=device)


def _build(
    name: str,
    *,
    passes: int,
    config: Mapping[str, Any] | None,
    weights: Mapping[str, Tensor] | Path | str | None,
    device: str,
) -> MedVAE:
    label, _, variant = name.partition("@")
    declared = _ENTRIES[label].variants.get(variant)
    checkpoint = checkpoint_of(_ENTRIES[label], variant, weights, config=config)
    if config is None:
        config = declared.config if declared else None
        config = config or published_config(checkpoint.state, [_ENTRIES["medvae"]], name=name)
    parsed = _with_adapters(MedVAEConfig.from_mapping(config), checkpoint.state)
    if passes > 1 and parsed.trunk.in_channels > 1:
        message = f"{name}: the network sees colour by itself: use medvae instead of medvae-rgb"
        raise UsageError(message)
    with torch.device("meta"):  # nothing is drawn or allocated that is replaced anyway
        model = MedVAEModel(parsed)
    load_into(model, checkpoint.state, name=name, allow_unexpected=DROPPED_KEYS)
    info = describe(model, name, passes=passes, weights_sha256=checkpoint.sha256)
    merge_adapters(model)
    return MedVAE(model.to(device), info)


def _with_adapters(config: MedVAEConfig, state: Mapping[str, Tensor]) -> MedVAEConfig:
    """The configuration with the rank that the checkpoint's adapters have, or without any.

    Upstream's configurations do not state it, and a checkpoint may have been merged already.
    """
    ranks = {tensor.shape[0] for key, tensor in state.items() if key.endswith(".lora_down.weight")}
    return config if len(ranks) > 1 else replace(config, lora_rank=max(ranks, default=None))


def describe(
    model: MedVAEModel, full_name: str, *, passes: int, weights_sha256: str | None
) -> TokenizerInfo:
    """What records say of a network of this architecture.

    Args:
        model: as the checkpoint has it, adapters not merged.
        full_name: `name@variant`.
        passes: 3 where it runs on each colour channel alone, else 1.
        weights_sha256: of the file, if there is one.
    """
    config, trunk = model.config, model.config.trunk
    name, _, variant = full_name.partition("@")
    return TokenizerInfo(
        name=name,
        variant=variant,
        kind="continuous",
        resolution=BENCHMARK_SIDE,
        size_multiple=trunk.downsample,
        downsample=trunk.downsample,
        layout="raster",
        positions=trunk.cells,
        latent_dims=passes * config.embed_dim,
        feature_dims=passes * config.embed_dim,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=weights_sha256,
        colour="luma" if trunk.in_channels == 1 and passes == 1 else "rgb",
        bits_per_image=config.bits_per_image(passes),
        **asdict(_CARD.provenance(variant)),
    )
