"""The TokenFlow network with a CLIP-B teacher (Qu et al. 2024, arXiv:2412.03069).

Keys of the state dict are upstream's. Shapes: B images of side 16·g, g the last scale, L indices
on all scales, S and P dimensions of the semantic and the pixel half of a code.
"""

from __future__ import annotations

import torch
from torch import nn

from .taming_blocks import group_norm
from .tokenflow_config import TokenFlowConfig
from .tokenflow_pixels import PixelDecoder, PixelEncoder
from .tokenflow_quantizer import ScaleCodes, SharedQuantizer
from .tokenflow_transformers import ClipEncoder, SemanticDecoder


class TokenFlowModel(nn.Module):
    """Semantic and pixel encoder, shared quantiser, semantic and pixel decoder."""

    def __init__(self, config: TokenFlowConfig) -> None:
        super().__init__()
        self.config = config
        sizes, latent = config.sizes, config.z_channels
        semantic, pixel = config.semantic_code_dim, config.codebook_embed_dim
        norm = group_norm(sizes.norm_groups)
        self.encoder = PixelEncoder(
            config.encoder_ch_mult, sizes.ch, blocks=sizes.nres, latent=latent, norm=norm
        )
        self.decoder = PixelDecoder(
            config.decoder_ch_mult,
            config.decoder_ch,
            blocks=config.decoder_nres,
            latent=latent,
            norm=norm,
        )
        self.quant_conv = nn.Conv2d(latent, pixel, 1)
        self.post_quant_conv = nn.Conv2d(pixel, latent, 1)
        self.encoder_vqkd = ClipEncoder(sizes)
        self.decoder_vqkd = SemanticDecoder(semantic, sizes)
        self.encode_task_layer = _task_layer(sizes.dim, semantic)
        self.decode_task_layer = _task_layer(sizes.dim, sizes.out)
        self.quantize = SharedQuantizer(
            config.codebook_size,
            (semantic, pixel),
            beta=config.commit_loss_beta,
            entropy_ratio=config.entropy_loss_ratio,
            usage_record=config.codebook_show_usage,
        )

    def semantic_tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, H) in [-1, 1] -> the CLIP encoder's tokens (B, g², dim)."""
        return self.encoder_vqkd(x)

    def encode_latent(self, x: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
        """Images (B, 3, H, H) in [-1, 1] -> latent before quantisation (B, S + P, g, g).

        Args:
            x: images.
            tokens: their `semantic_tokens`, where they are known.
        """
        tokens = self.semantic_tokens(x) if tokens is None else tokens
        semantic = self.encode_task_layer(tokens).transpose(1, 2)
        pixel = self.quant_conv(self.encoder(x))
        return torch.cat((semantic.unflatten(2, pixel.shape[2:]), pixel), dim=1)

    def encode(self, x: torch.Tensor, tokens: torch.Tensor | None = None) -> ScaleCodes:
        """Images (B, 3, H, H) in [-1, 1] -> indices (B, L) and quantised latent (B, S + P, g, g).

        The latent is the one that `look_up` gives for the indices. `tokens` as in `encode_latent`.
        """
        return self.quantize.encode_scales(self.encode_latent(x, tokens), self.config.scales)

    def look_up(self, indices: torch.Tensor) -> torch.Tensor:
        """Indices int64 (B, L) -> quantised latent (B, S + P, g, g)."""
        return self.quantize.look_up_scales(indices, self.config.scales)

    def decode_image(self, zq: torch.Tensor) -> torch.Tensor:
        """Quantised latent (B, S + P, g, g) -> images (B, 3, H, H) about [-1, 1], not clamped."""
        return self.decoder(self.post_quant_conv(zq[:, self.config.semantic_code_dim :]))

    def decode_semantics(self, zq: torch.Tensor) -> torch.Tensor:
        """Quantised latent (B, S + P, g, g) -> the teacher's features as decoded (B, g², out)."""
        return self.decode_task_layer(self.decoder_vqkd(zq[:, : self.config.semantic_code_dim]))


def _task_layer(width: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width_out))
