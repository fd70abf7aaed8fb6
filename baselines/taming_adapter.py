"""What the adapters of the VQGAN family share: colour, checks of an encoding, and its reading.

Images of the protocol are (B, 3, H, H) in [0, 1]; a network's are (B, C, H, H) in about [-1, 1]
with C = 3, or C = 1 where it sees brightness only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..harness.entries import TokenizerEntry
from ..harness.errors import UsageError
from ..harness.protocol import TokenizerInfo

DROPPED_KEYS = (r"loss\.", r"model_ema\.")
"""What trainers store beside the network: discriminator and perceptual loss, and averages."""


def network_images(images: Tensor, channels: int) -> Tensor:
    """Protocol images -> network images: as they are, or their ITU-R 601 luma for one channel."""
    if channels == 1:
        red, green, blue = images.unbind(dim=1)
        images = (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)
    return images * 2 - 1


def protocol_images(output: Tensor) -> Tensor:
    """A network's output -> protocol images, not clamped; one channel is repeated three times."""
    images = (output + 1) / 2
    return images.repeat(1, 3, 1, 1) if images.shape[1] == 1 else images


def tokens(latent: Tensor) -> Tensor:
    """Latent (B, D, h, w) -> (B, h·w, D), raster order."""
    return latent.flatten(2).transpose(1, 2).contiguous()


def checked_latents(latents: Tensor | None, info: TokenizerInfo) -> Tensor:
    """The latents of an encoding.

    Raises:
        UsageError: they are absent, not finite, or not float32 (B, D, h, h).
    """
    name, dims = info.full_name, info.latent_dims
    if latents is None:
        needed = "indices or latents" if info.kind == "discrete" else "latents"
        message = f"{name}: decode needs {needed}, got neither"
        raise UsageError(message)
    shape = tuple(latents.shape)
    right = latents.ndim == 4 and shape[1] == dims and shape[2] == shape[3] and latents.numel()
    if not right or latents.dtype != torch.float32:
        message = f"{name}: latents must be float32 (B, {dims}, h, h), got {latents.dtype} {shape}"
        raise UsageError(message)
    if not torch.isfinite(latents).all():
        message = f"{name}: latents must be finite"
        raise UsageError(message)
    return latents


def checkpoint_signature(state: Mapping[str, Tensor]) -> tuple[int, int, int] | None:
    """Levels, image channels and latent channels of a checkpoint; None if it is of no such network.

    They tell the published networks of one family apart.
    """
    image, latent = state.get("encoder.conv_in.weight"), state.get("post_quant_conv.weight")
    numbers = [int(m[1]) for key in state if (m := re.match(r"encoder\.down\.(\d+)\.", key))]
    if image is None or latent is None or not numbers or min(image.ndim, latent.ndim) < 2:
        return None
    return max(numbers) + 1, image.shape[1], latent.shape[1]


def published_config(
    state: Mapping[str, Tensor], entries: Iterable[TokenizerEntry], *, name: str
) -> Mapping[str, Any]:
    """The published configuration that a checkpoint has the outline of.

    Raises:
        UsageError: there is none.
    """
    found = checkpoint_signature(state)
    for entry in entries:
        for variant in entry.variants.values():
            config = variant.config or {}
            sizes = config["ddconfig"]
            outline = (len(sizes["ch_mult"]), sizes["in_channels"], config["embed_dim"])
            if found == outline:
                return config
    seen = (
        "no encoder.down, encoder.conv_in and post_quant_conv"
        if found is None
        else f"{found[0]} levels, {found[1]} image channels and {found[2]} latent channels"
    )
    message = (
        f"{name}: the checkpoint has {seen}, which is none of the published networks. "
        "Pass the --config that belongs to it (upstream's terms)."
    )
    raise UsageError(message)
