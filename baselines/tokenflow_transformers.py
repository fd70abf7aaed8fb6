"""The two transformers of TokenFlow: CLIP's image encoder, and the semantic decoder.

Both store a class token and a table of positions for one grid; at another grid the table is
resized. Keys of the state dicts are upstream's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers.mlp import Mlp
from torch import nn

from .tokenflow_config import PATCH, TokenFlowSizes

_MLP_RATIO = 4
_RESIZE_OFFSET = 0.1


def resize_positions(table: torch.Tensor, grid: int) -> torch.Tensor:
    """Position embeddings for a grid of `grid`² cells.

    Args:
        table: (1 + n², D), that of the class token first.
        grid: cells along one side.

    Returns:
        (1 + grid², D): the table itself where n = grid, else resized by a bicubic filter. The
        sampling points follow from the factor (grid + 0.1) / n, as in DINO, and not from the two
        sizes; networks were run with these points, so they are part of the definition.
    """
    stored = round((table.shape[0] - 1) ** 0.5)
    if stored == grid:
        return table
    cells = table[1:].unflatten(0, (1, stored, stored)).permute(0, 3, 1, 2)
    factor = (grid + _RESIZE_OFFSET) / stored
    resized = F.interpolate(cells, scale_factor=(factor, factor), mode="bicubic")
    return torch.cat((table[:1], resized.flatten(2)[0].T))


class ClipMlp(nn.Module):
    """Two linear layers with CLIP's sigmoid form of GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, _MLP_RATIO * width)
        self.c_proj = nn.Linear(_MLP_RATIO * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, width) -> the same shape."""
        hidden = self.c_fc(x)
        return self.c_proj(hidden * torch.sigmoid(1.702 * hidden))


class ClipBlock(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = ClipMlp(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, width) -> the same shape."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class ClipTransformer(nn.Module):
    """CLIP's blocks, under its name for them."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(ClipBlock(width, heads) for _ in range(layers)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, width) -> the same shape."""
        return self.resblocks(x)


class ClipEncoder(nn.Module):
    """CLIP's image encoder (Radford et al. 2021) without its projection."""

    def __init__(self, sizes: TokenFlowSizes) -> None:
        super().__init__()
        width, cells = sizes.dim, (sizes.img // PATCH) ** 2
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + cells, width))
        self.conv1 = nn.Conv2d(3, width, PATCH, stride=PATCH, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = ClipTransformer(width, sizes.clip_layers, sizes.clip_heads)
        self.ln_post = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, 3, H, H) in [-1, 1] -> tokens (B, (H/16)², width), the class token left out.

        The range is that of the pixel encoder, not CLIP's own mean and deviation.
        """
        cells = self.conv1(x)
        start = self.class_embedding.expand(len(x), 1, -1)
        tokens = torch.cat((start, cells.flatten(2).transpose(1, 2)), dim=1)
        tokens = tokens + resize_positions(self.positional_embedding, cells.shape[-1])
        return self.ln_post(self.transformer(self.ln_pre(tokens)))[:, 1:]


class SemanticAttention(nn.Module):
    """Attention whose keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, width) -> the same shape."""
        bias = torch.cat((self.q_bias, torch.zeros_like(self.q_bias), self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value)
        return self.proj(y.transpose(1, 2).flatten(2))


class SemanticBlock(nn.Module):
    """Pre-norm attention and MLP, without layer scale."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = SemanticAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, _MLP_RATIO * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, width) -> the same shape."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PointEmbed(nn.Module):
    """Each latent cell to a token."""

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(latent, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, latent, h, w) -> (B, h·w, width)."""
        return self.proj(x).flatten(2).transpose(1, 2)


class SemanticDecoder(nn.Module):
    """A small BEiT transformer over the semantic half of the latent (Peng et al. 2022)."""

    def __init__(self, latent: int, sizes: TokenFlowSizes) -> None:
        super().__init__()
        width, cells = sizes.dim, (sizes.img // PATCH) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + cells, width))
        self.patch_embed = PointEmbed(latent, width)
        blocks = (SemanticBlock(width, sizes.heads) for _ in range(sizes.dec_depth))
        self.blocks = nn.Sequential(*blocks)
        self.fc_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Semantic latent (B, latent, h, h) -> tokens (B, h², width)."""
        start = self.cls_token.expand(len(x), 1, -1)
        tokens = torch.cat((start, self.patch_embed(x)), dim=1)
        tokens = tokens + resize_positions(self.pos_embed[0], x.shape[-1])
        return self.fc_norm(self.blocks(tokens)[:, 1:])
