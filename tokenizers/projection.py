"""Attention projections between token width and latent width (MedITok, UniTok).

The published MedITok masks them causally over the raster order; UniTok's files of 2025-04-02 and
later attend to all positions. Keys and shapes are the same, so the switch is explicit.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.models.vitamin import GeGluMlp
from torch import nn

from .vitamin import MLP_ACTIVATION


class ProjectingAttention(nn.Module):
    """Multi-head attention whose output is narrower (heads averaged) or wider (concatenated)."""

    zero_k_bias: torch.Tensor

    def __init__(self, width: int, width_out: int, *, causal: bool) -> None:
        super().__init__()
        inner = max(width, width_out)
        self.causal = causal
        self.narrows = width > width_out
        self.heads = inner // min(width, width_out)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(inner))
        self.v_bias = nn.Parameter(torch.zeros(inner))
        self.register_buffer("zero_k_bias", torch.zeros(inner))
        self.proj = nn.Linear(width_out, width_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, width) -> (B, L, width_out)."""
        bias = torch.cat((self.q_bias, self.zero_k_bias, self.v_bias))
        qkv = F.linear(x, self.qkv.weight, bias).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        y = y.mean(dim=1) if self.narrows else y.transpose(1, 2).flatten(2)
        return self.proj(y)


class AttentionProjection(nn.Module):
    """Linear projection plus attention, then a gated MLP."""

    def __init__(self, width: int, width_out: int, *, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-5)
        self.attn = ProjectingAttention(width, width_out, causal=causal)
        self.proj = nn.Linear(width, width_out)
        self.norm3 = nn.LayerNorm(width, eps=1e-5)
        self.norm2 = nn.LayerNorm(width_out, eps=1e-5)
        self.mlp = GeGluMlp(width_out, 2 * width_out, act_layer=MLP_ACTIVATION)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, L, width) -> (B, L, width_out)."""
        y = self.proj(self.norm3(x)) + self.attn(self.norm1(x))
        return y + self.mlp(self.norm2(y))


def build_projection(width: int, width_out: int, *, kind: str, causal: bool) -> nn.Module:
    """`kind`: "attn" as published, or "linear"."""
    if kind == "linear":
        return nn.Linear(width, width_out)
    return AttentionProjection(width, width_out, causal=causal)
