"""The transformer block: RMSNorm, rotary attention with a cache, SwiGLU.

Source: Touvron et al., "LLaMA", 2023; Sun et al., "Autoregressive model beats diffusion: Llama
for scalable image generation", 2024, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import GeneratorConfig


class RMSNorm(nn.Module):
    """Scales each vector to a root mean square of one, in float32, then by learnt weights."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return wide.type_as(x) * self.weight


class FeedForward(nn.Module):
    """SwiGLU: ``w2(silu(w1 x) * w3 x)``."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.w3 = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.w2 = nn.Linear(config.hidden_dim, config.dim, bias=False)
        self.dropout = nn.Dropout(config.ffn_dropout_p)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.dropout(self.w2(F.silu(self.w1(x)) * self.w3(x)))


class Cache:
    """Keys and values of the positions that one block has seen.

    Args:
        positions: so many are to come.
    """

    def __init__(self, positions: int) -> None:
        self._positions = positions
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._seen = 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Take in (B, H, t, d) more, and return all (B, H, T, d) so far."""
        if self._keys is None or self._values is None:
            shape = (*keys.shape[:2], self._positions, keys.shape[3])
            self._keys, self._values = keys.new_empty(shape), values.new_empty(shape)
        end = self._seen + keys.shape[2]
        self._keys[:, :, self._seen : end] = keys
        self._values[:, :, self._seen : end] = values
        self._seen = end
        return self._keys[:, :, :end], self._values[:, :, :end]


class Attention(nn.Module):
    """Causal self-attention; queries and keys are turned by their positions where a table is."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.n_head, config.kv_heads
        self.head_dim = config.head_dim
        total = (self.heads + 2 * self.kv_heads) * self.head_dim
        self.wqkv = nn.Linear(config.dim, total, bias=False)
        self.wo = nn.Linear(config.dim, config.dim, bias=False)
        self.attention_dropout = config.attn_dropout_p
        self.dropout = nn.Dropout(config.resid_dropout_p)

    def forward(self, x: Tensor, turns: Tensor | None, cache: Cache | None) -> Tensor:
        """(B, T, D) -> (B, T, D); with a cache, T is 1 or the cache is empty."""
        batch, length, dim = x.shape
        sizes = [self.heads * self.head_dim] + [self.kv_heads * self.head_dim] * 2
        q, k, v = (
            part.view(batch, length, -1, self.head_dim) for part in self.wqkv(x).split(sizes, -1)
        )
        if turns is not None:
            q, k = rotate(q, turns), rotate(k, turns)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        if cache is not None:
            k, v = cache.extend(k, v)
        if cache is not None and length == 1:
            # Heads that share keys are as many queries: nothing is copied, and no mask is needed.
            q = q.reshape(batch, self.kv_heads, -1, self.head_dim)
            mixed = attend(q, k, v)
        else:
            if self.kv_heads != self.heads:
                k, v = (part.repeat_interleave(self.heads // self.kv_heads, 1) for part in (k, v))
            dropout = self.attention_dropout if self.training else 0.0
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        mixed = mixed.reshape(batch, self.heads, length, self.head_dim)
        return self.dropout(self.wo(mixed.transpose(1, 2).reshape(batch, length, dim)))


class Block(nn.Module):
    """Attention and feed-forward part, each on normalised input and added to the stream."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)

    def forward(self, x: Tensor, turns: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x = x + self.attention(self.attention_norm(x), turns, cache)
        return x + self.feed_forward(self.ffn_norm(x))


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention without a mask: (B, H, t, d), twice (B, H, T, d) -> (B, H, t, d).

    The same bits for an image in any row of the batch. Torch's fused form has other last bits in
    the rows of its second thread (2.15, CPU: each thread's buffer is aligned otherwise).
    """
    scores = queries * queries.shape[-1] ** -0.5 @ keys.transpose(-2, -1)
    return scores.softmax(-1) @ values


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn adjacent pairs of each head's numbers: (B, T, H, d) by (T, d/2, 2)."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    cosine, sine = turns[:, None].type_as(x).unbind(-1)
    turned = (first * cosine - second * sine, second * cosine + first * sine)
    return torch.stack(turned, -1).flatten(-2)


def turn_table(config: GeneratorConfig) -> Tensor:
    """Cosine and sine by position, (1 + L, d/2, 2): the class first, then the tokens.

    One half of a head's pairs turns with the row, the other with the column; in a sequence both
    turn with the place. The class's numbers are zero, or one and zero, which turns nothing.
    """
    quarter = config.head_dim // 4
    rates = config.rope_base ** (-torch.arange(quarter, dtype=torch.float32) / quarter)
    place = torch.arange(config.block_size)
    if config.layout == "raster":
        side = int(config.block_size**0.5)
        rows, columns = place // side, place % side
    else:
        rows = columns = place
    angles = torch.cat([rows[:, None] * rates, columns[:, None] * rates], dim=1)
    table = torch.stack([angles.cos(), angles.sin()], dim=-1)
    of_class = torch.zeros(1, *table.shape[1:])
    if config.class_rotary == "identity":
        of_class[..., 0] = 1
    return torch.cat([of_class, table])
