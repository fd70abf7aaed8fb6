"""The two-dimensional MedVAE network (Varma et al. 2025, arXiv:2502.14753), upstream keys."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .medvae_lora import add_adapters
from .taming_blocks import Decoder, Encoder
from .taming_config import MedVAEConfig

_PROJECTION_WIDTH = 64


@dataclass(frozen=True, slots=True)
class Posterior:
    """A diagonal Gaussian over the latent."""

    mean: Tensor
    """(B, D, h, w)."""
    logvar: Tensor
    """(B, D, h, w), in [-30, 20]."""

    def kl(self) -> Tensor:
        """Divergence from the unit Gaussian, in nats, summed over each image's latent: (B,)."""
        terms = self.mean.square() + self.logvar.exp() - 1 - self.logvar
        return 0.5 * terms.sum(dim=(1, 2, 3))


class MedVAEModel(nn.Module):
    """Encoder with mean and variance, decoder, and the latent's projection.

    Images are (B, C, H, W) in [-1, 1], H and W multiples of the factor f; latents (B, D, h, w).
    With `config.lora_rank` the network can take a checkpoint, and runs after `merge_adapters`.

    Args:
        config: sizes.
    """

    def __init__(self, config: MedVAEConfig) -> None:
        super().__init__()
        self.config = config
        width, z_channels = config.embed_dim, config.trunk.z_channels
        self.encoder = Encoder(config.trunk)
        self.decoder = Decoder(config.trunk)
        self.quant_conv = nn.Conv2d(2 * z_channels, 2 * width, 1)
        self.post_quant_conv = nn.Conv2d(width, z_channels, 1)
        if config.apply_channel_ds:
            self.channel_ds = nn.Sequential(
                nn.Conv2d(width, _PROJECTION_WIDTH, 1),
                nn.ReLU(),
                nn.Conv2d(_PROJECTION_WIDTH, _PROJECTION_WIDTH, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(_PROJECTION_WIDTH, width, 1),
            )
            self.channel_proj = nn.Conv2d(width, width, 1)
        if config.lora_rank is not None:
            add_adapters(self, rank=config.lora_rank)

    def encode(self, x: Tensor) -> Posterior:
        """Images -> posterior; upstream samples from it, a benchmark takes the mean."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def decode_latent(self, z: Tensor) -> Tensor:
        """Latent -> images about [-1, 1], not clamped."""
        return self.decoder(self.post_quant_conv(z))

    def project(self, z: Tensor) -> Tensor:
        """Latent -> what upstream hands out as representation, of the same shape.

        The decoder does not read it: it was trained afterwards to agree with BiomedCLIP. Without
        `config.apply_channel_ds` it is the latent itself.
        """
        if not self.config.apply_channel_ds:
            return z
        return self.channel_proj(self.channel_ds(z) + z)
