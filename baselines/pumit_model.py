"""PUMIT's simple tokenizer for images, under upstream's keys.

Upstream's network is built for volumes and adapts to coarse depth (`pumit_volume`). For an image,
a single slice that counts as infinitely coarse in depth, it equals a plain two-dimensional network
whose kernels are the volume's summed over depth. So a checkpoint is read as volume kernels and
then collapsed.
Shapes: B images, D latent channels, V embeddings, (h, w) the latent grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from .pumit_config import NORM_GROUPS, PUMITConfig

Dimensions = Literal[2, 3]
"""3: the kernels as checkpoints hold them. 2: the kernels that images are run with."""

_CONVOLUTION: dict[Dimensions, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[Dimensions, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class ChannelNorm(nn.Sequential):
    """Layer norm over the channels at each place; upstream keeps it between two permutations."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Identity(), nn.LayerNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self[1](x.movedim(1, -1)).movedim(-1, 1)


class DoubleSide(nn.Module):
    """Transposed convolution that doubles the side, then a normalised 3×3 convolution."""

    def __init__(self, before: int, after: int, *, dimensions: Dimensions) -> None:
        super().__init__()
        self.transposed_conv = _TRANSPOSED[dimensions](before, after, 2, stride=2)
        self.conv = nn.Sequential(*_normalised(after, after, dimensions=dimensions))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, 2H, 2W)."""
        return self.conv(self.transposed_conv(x))


def _normalised(before: int, after: int, *, dimensions: Dimensions) -> list[nn.Module]:
    convolution = _CONVOLUTION[dimensions](before, after, 3, padding=1)
    return [convolution, nn.GroupNorm(NORM_GROUPS, after), nn.LeakyReLU(0.01)]


def _encoder(config: PUMITConfig, dimensions: Dimensions) -> nn.Sequential:
    layers: list[nn.Module] = []
    for place, (before, after) in enumerate(pairwise((3, *config.down_widths))):
        stride = config.start_stride if place == 0 else 2
        convolution = _CONVOLUTION[dimensions](before, after, stride, stride=stride)
        layers += [convolution, ChannelNorm(after), nn.GELU()]
    last = config.down_widths[-1]
    layers += _normalised(last, last, dimensions=dimensions)
    layers += _normalised(last, config.embedding_dim, dimensions=dimensions)
    return nn.Sequential(*layers)


def _decoder(config: PUMITConfig, dimensions: Dimensions) -> nn.Sequential:
    inwards = config.up_widths
    layers = _normalised(config.embedding_dim, inwards[-1], dimensions=dimensions)
    layers += _normalised(inwards[-1], inwards[-1], dimensions=dimensions)
    for before, after in pairwise(reversed(inwards)):
        layers.append(DoubleSide(before, after, dimensions=dimensions))
    stride = config.end_stride
    layers.append(_TRANSPOSED[dimensions](inwards[0], 3, stride, stride=stride))
    return nn.Sequential(*layers)


@dataclass(frozen=True, slots=True)
class SoftLosses:
    """What training asks of the probabilities, both in nats."""

    quant_loss: Tensor
    """Scalar: negative entropy of the mean probabilities; least where all embeddings are used."""
    entropy: Tensor
    """Scalar: mean entropy of a cell's probabilities."""


class SoftQuantizer(nn.Module):
    """A learned projection gives each embedding a probability.

    Args:
        num_embeddings: V.
        embedding_dim: D.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(embedding_dim, num_embeddings)
        self.embedding = nn.Embedding(num_embeddings, embedding_dim)

    def logits(self, z: Tensor) -> Tensor:
        """Latent (B, D, h, w) -> (B, h, w, V); here and below also with depth, (d, h, w)."""
        return self.proj(z.movedim(1, -1))

    def mixed(self, probabilities: Tensor) -> Tensor:
        """Probabilities (B, h, w, V) -> mean embedding by probability (B, D, h, w)."""
        return (probabilities @ self.embedding.weight).movedim(-1, 1).contiguous()

    def look_up(self, indices: Tensor) -> Tensor:
        """Indices int64 (B, h, w) -> embeddings in place (B, D, h, w)."""
        return self.embedding(indices).movedim(-1, 1).contiguous()

    def losses(self, logits: Tensor) -> SoftLosses:
        """Logits (B, h, w, V) -> the two losses of training."""
        log_share = logits.log_softmax(dim=-1).flatten(0, -2)
        share = log_share.exp()
        mean = share.mean(dim=0)
        return SoftLosses(
            quant_loss=torch.special.xlogy(mean, mean).sum(),
            entropy=-(share * log_share).sum(dim=-1).mean(),
        )


class PUMITModel(nn.Module):
    """Encoder, quantiser and decoder; images are (B, 3, H, W) in [-1, 1].

    Args:
        config: sizes.
        dimensions: of the kernels.
    """

    def __init__(self, config: PUMITConfig, *, dimensions: Dimensions = 2) -> None:
        super().__init__()
        self.config = config
        self.quantize = SoftQuantizer(config.num_embeddings, config.embedding_dim)
        self.encoder = _encoder(config, dimensions)
        self.decoder = _decoder(config, dimensions)


def collapsed(volume: PUMITModel) -> dict[str, Tensor]:
    """The state dict of the two-dimensional network from that of the three-dimensional one."""
    return {
        key: value.sum(dim=2) if value.ndim == 5 else value
        for key, value in volume.state_dict().items()
    }
