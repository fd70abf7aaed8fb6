"""The MedITok network (Ma et al. 2025), which UniTok shares but for the causal mask.

Keys of the state dict are upstream's. Shapes: B images of side H (a multiple of 16), L = (H/16)²
tokens in raster order, E the token width, W the latent width, K codebooks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from .meditok_config import DOWNSAMPLE, MedITokConfig
from .projection import build_projection
from .quantizer import MultiCodebookQuantizer, Quantised
from .vitamin import build_encoder
from .vitamin_decoder import ViTaminDecoder


@dataclass(frozen=True, slots=True)
class TrainingOutput:
    """One pass through the network in training."""

    rec: torch.Tensor
    """Reconstruction (B, 3, H, H), about [-1, 1], not clamped."""
    tokens: torch.Tensor
    """Encoder output (B, L, E) before quantisation."""
    post_tokens: torch.Tensor
    """Tokens (B, L, E) after the latent: what the decoder and a language model get."""
    latent: torch.Tensor
    """What `post_tokens` are made of, (B, L, W): the codes, or without quantisation the chunks."""
    z: torch.Tensor
    """Latent chunks on the unit sphere before quantisation (B, L, K, W/K)."""
    quantised: Quantised | None
    """None where the pass left quantisation out."""


class MedITokModel(nn.Module):
    """Encoder, projection, quantiser, projection, decoder, and the contrastive head.

    Args:
        config: sizes.
        causal: whether the projections see earlier positions only: True for MedITok and for
            UniTok's file before 2025-04-02, False for UniTok's present one.
    """

    def __init__(self, config: MedITokConfig, *, causal: bool = True) -> None:
        super().__init__()
        self.config = config
        width, latent = config.sizes.embed_dim, config.vocab_width
        self.encoder = build_encoder(config.sizes, drop_path=config.drop_path)
        self.quant_proj = build_projection(width, latent, kind=config.quant_proj, causal=causal)
        self.quantizer = MultiCodebookQuantizer(
            config.vocab_size,
            latent,
            config.num_codebooks,
            beta=config.vq_beta,
            entropy_temperature=config.e_temp if config.le > 0 else None,
        )
        self.post_quant_proj = build_projection(
            latent, width, kind=config.quant_proj, causal=causal
        )
        self.decoder = ViTaminDecoder(config.sizes, drop_path=config.drop_path)
        if not config.drop_alignment:
            self.fc_norm = nn.LayerNorm(width, eps=1e-6)
            self.projection = nn.Linear(width, config.embed_dim)
            self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def latent_dims(self) -> int:
        """W, the channels of the quantised latent."""
        return self.config.vocab_width

    @property
    def embedding_dims(self) -> int:
        """Length of `image_embedding`; 0 where there is no contrastive head."""
        return 0 if self.config.drop_alignment else self.config.embed_dim

    def checkpoint_activations(self) -> None:
        """Compute the transformers' activations again in the backward pass, for less memory."""
        self.encoder.set_grad_checkpointing(True)
        self.decoder.recompute = True

    def encode_tokens(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, H) in [-1, 1] -> continuous tokens (B, L, E)."""
        return self.encoder(x)

    def encode_latent(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, H) in [-1, 1] -> latent before quantisation (B, L, W)."""
        return self.quant_proj(self.encoder(x))

    def encode_indices(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, H) in [-1, 1] -> indices int64 (B, K, L)."""
        return self.quantizer.encode(self.encode_latent(x))

    def decode_latent(self, zq: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Quantised latent (B, L, W) of a grid (h, w), h·w = L -> images about [-1, 1]."""
        return self.decoder(self.post_quant_proj(zq), grid)

    def image_embedding(self, post_tokens: torch.Tensor) -> torch.Tensor:
        """Tokens after the latent (B, L, E) -> contrastive embedding, not normalised."""
        return self.projection(self.fc_norm(post_tokens.mean(dim=1)))

    def forward(self, x: torch.Tensor, *, quantise: bool = True) -> TrainingOutput:
        """Reconstruct for training.

        Args:
            x: images (B, 3, H, H) in [-1, 1].
            quantise: False passes the unit-norm chunks on as they are (warm-up of a network that
                starts from scratch).
        """
        tokens = self.encoder(x)
        # The latent part stays in float32 under autocast: indices depend on it.
        with torch.autocast(x.device.type, enabled=False):
            latent = self.quant_proj(tokens.float())
            quantised = self.quantizer(latent) if quantise else None
            z = self.quantizer.chunks(latent) if quantised is None else quantised.z
            zq = z.flatten(2) if quantised is None else quantised.zq
            post_tokens = self.post_quant_proj(zq)
        grid = (x.shape[-2] // DOWNSAMPLE, x.shape[-1] // DOWNSAMPLE)
        rec = self.decoder(post_tokens, grid).float()
        return TrainingOutput(rec, tokens, post_tokens, zq, z, quantised)
