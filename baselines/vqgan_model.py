"""The VQGAN network (Esser et al. 2021, arXiv:2012.09841) under taming-transformers' keys."""

from __future__ import annotations

from torch import Tensor, nn

from .taming_blocks import Decoder, Encoder
from .taming_config import VQGANConfig
from .taming_quantizer import GumbelQuantizer, VectorQuantizer


class VQGANModel(nn.Module):
    """Encoder, quantiser and decoder.

    Images are (B, C, H, W) in [-1, 1], H and W multiples of the factor f; latents (B, D, h, w).

    Args:
        config: sizes; `gumbel` decides which quantiser it has.
    """

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        codes, width, z_channels = config.n_embed, config.embed_dim, config.trunk.z_channels
        self.encoder = Encoder(config.trunk)
        self.decoder = Decoder(config.trunk)
        self.quantize = (
            GumbelQuantizer(codes, width) if config.gumbel else VectorQuantizer(codes, width)
        )
        self.quant_conv = nn.Conv2d(z_channels, width, 1)
        self.post_quant_conv = nn.Conv2d(width, z_channels, 1)

    def encode_latent(self, x: Tensor) -> Tensor:
        """Images -> latent before quantisation."""
        return self.quant_conv(self.encoder(x))

    def decode_latent(self, zq: Tensor) -> Tensor:
        """Quantised latent -> images about [-1, 1], not clamped."""
        return self.decoder(self.post_quant_conv(zq))
