"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685) that a MedVAE checkpoint keeps un-merged.

Upstream computes conv(x) + up(down(x)) in every convolution of the residual and attention blocks.
All three are linear and `up` is 1×1, so one convolution with W + up·down gives the same.
"""

from __future__ import annotations

import torch
from torch import nn

from .taming_blocks import AttnBlock, ResnetBlock


class AdaptedConv2d(nn.Module):
    """Holds a convolution and its adapter as the checkpoint stores them, until they are merged."""

    def __init__(self, conv: nn.Conv2d, *, rank: int) -> None:
        super().__init__()
        self.conv = conv
        kernel = (conv.kernel_size[0], conv.kernel_size[1])
        device = conv.weight.device
        self.lora_down = nn.Conv2d(conv.in_channels, rank, kernel, bias=False, device=device)
        self.lora_up = nn.Conv2d(rank, conv.out_channels, 1, bias=False, device=device)

    @torch.no_grad()
    def merged(self) -> nn.Conv2d:
        """The convolution with the adapter added to its weight, in float64 and rounded once."""
        up, down = self.lora_up.weight.double().flatten(1), self.lora_down.weight.double()
        weight = self.conv.weight.double() + torch.tensordot(up, down, dims=1)
        self.conv.weight = nn.Parameter(weight.to(self.conv.weight.dtype))
        return self.conv


def add_adapters(network: nn.Module, *, rank: int) -> None:
    """Give every convolution of the residual and attention blocks an adapter, in place."""
    blocks = [m for m in network.modules() if isinstance(m, ResnetBlock | AttnBlock)]
    for block in blocks:
        for name, child in list(block.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(block, name, AdaptedConv2d(child, rank=rank))


def merge_adapters(network: nn.Module) -> None:
    """Replace every adapted convolution by the plain one that computes the same, in place."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, AdaptedConv2d):
                setattr(parent, name, child.merged())
