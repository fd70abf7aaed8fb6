"""The ViTamin encoder of MedITok and UniTok: timm's network at any size.

Three convolution steps and a patch convolution take the image to 1/16 of its side; a
pre-norm transformer with gated MLPs follows (Chen et al. 2024, arXiv:2404.02132). There is no
position embedding beyond one constant vector (zeros in the published file), so one module takes
any side that is a multiple of 16.
"""

from __future__ import annotations

from functools import partial

import torch
from timm.layers.drop import DropPath
from timm.layers.hybrid_embed import HybridEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from timm.models.vitamin import GeGluMlp, MbConvStages, VitCfg, VitConvCfg
from torch import nn

from ..harness.training import parallel
from .meditok_config import ViTaminSizes

MLP_ACTIVATION = "gelu_tanh"
"""The MLPs use the tanh form of GELU, the convolutions the exact one."""


def build_encoder(sizes: ViTaminSizes, *, drop_path: float = 0.0) -> VisionTransformer:
    """Images float32 (B, 3, H, W) in [-1, 1] -> tokens float32 (B, H/16 · W/16, embed_dim).

    The keys of its state dict are upstream's, `pos_embed` included.
    """
    stages = MbConvStages(
        VitCfg(
            embed_dim=sizes.stage_dims,
            depths=(*sizes.stage_depths, 1),
            stem_width=sizes.stem_width,
            conv_cfg=VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6),
        )
    )
    side = 64  # timm probes the backbone once with an image of this side
    encoder = VisionTransformer(
        img_size=side,
        patch_size=1,
        num_classes=0,
        global_pool="",
        embed_dim=sizes.embed_dim,
        depth=sizes.depth,
        num_heads=sizes.num_heads,
        mlp_ratio=sizes.mlp_ratio,
        class_token=False,
        pos_embed="none",
        drop_path_rate=drop_path,
        embed_layer=partial(HybridEmbed, backbone=stages, proj=False, strict_img_size=False),
        mlp_layer=GeGluMlp,
        act_layer=MLP_ACTIVATION,
    )
    encoder.pos_embed = nn.Parameter(torch.zeros(1, 1, sizes.embed_dim), requires_grad=False)
    _share_draws(encoder)
    return encoder


def build_blocks(sizes: ViTaminSizes, *, drop_path: float = 0.0) -> nn.Sequential:
    """The decoder's transformer blocks: tokens float32 (B, L, embed_dim) -> the same shape."""
    rates = torch.linspace(0, drop_path, sizes.depth, device="cpu").tolist()
    blocks = nn.Sequential(
        *(
            Block(
                sizes.embed_dim,
                sizes.num_heads,
                mlp_ratio=sizes.mlp_ratio,
                qkv_bias=True,
                drop_path=rate,
                norm_layer=partial(nn.LayerNorm, eps=1e-6),  # pyright: ignore[reportArgumentType]
                act_layer=MLP_ACTIVATION,  # pyright: ignore[reportArgumentType]
                mlp_layer=GeGluMlp,
            )
            for rate in rates
        )
    )
    _share_draws(blocks)
    return blocks


class BatchDropPath(DropPath):
    """Stochastic depth that is drawn for the whole batch of all processes.

    Each takes the rows of its share, so that an image's draw does not depend on their number.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, ...) -> the same; in training a share of the rows is 0, and the others are larger."""
        if not self.training or self.drop_prob == 0:
            return x
        keep, total = 1 - self.drop_prob, len(x) * parallel.world_size()
        drawn = x.new_empty(total, *[1] * (x.ndim - 1)).bernoulli_(keep).div_(keep)
        return x * drawn[parallel.own_rows(total)]


def _share_draws(network: nn.Module) -> None:
    for part in list(network.modules()):
        for name, child in part.named_children():
            if isinstance(child, DropPath):
                setattr(part, name, BatchDropPath(child.drop_prob))
