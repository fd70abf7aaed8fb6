"""The network of the Emu3 vision tokenizer (Wang et al. 2024, arXiv:2409.18869).

A video tokenizer: the convolutional trunk of the VQGAN family sees each frame, layers over time
join the frames. An image is a clip of equal frames, and its reconstruction the clip's first frame.
Shapes: B images, D latent channels, T frames, (h, w) the latent grid.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .emu3_config import Emu3Config
from .taming_blocks import Decoder, Encoder, group_norm
from .taming_config import TrunkSizes
from .taming_quantizer import VectorQuantizer

_PAST_FRAMES = 2
"""Zero frames before the clip; none after, so that no frame sees a later one."""


class CausalConv3d(nn.Module):
    """Convolution over time and space: zeros around each frame and before the first one.

    Args:
        channels: in and out.
        kernel: (time, height, width).
        time_stride: frames from one output to the next.
    """

    def __init__(
        self, channels: int, kernel: tuple[int, int, int] = (3, 3, 3), *, time_stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            channels,
            channels,
            kernel,
            stride=(time_stride, 1, 1),
            padding=(0, kernel[1] // 2, kernel[2] // 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, T, h, w) -> (B, D, T', h, w)."""
        return self.conv(F.pad(x, (0, 0, 0, 0, _PAST_FRAMES, 0)))


class HalveTime(nn.Module):
    """Half the frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels, (4, 3, 3), time_stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, T, h, w) -> (B, D, T // 2, h, w)."""
        return F.silu(self.conv(x))


class DoubleTime(nn.Module):
    """Twice the frames."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = CausalConv3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, T, h, w) -> (B, D, 2T, h, w)."""
        return F.silu(self.conv(x.repeat_interleave(2, dim=2)))


class TimeResnetBlock(nn.Module):
    """Batch norm, swish and causal convolution, twice; plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv1 = CausalConv3d(channels)
        self.norm2 = nn.BatchNorm3d(channels)
        self.conv2 = CausalConv3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, T, h, w) -> (B, D, T, h, w)."""
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class SpatialNorm(nn.Module):
    """Group norm whose scale and shift at each place follow from the quantised map.

    Args:
        channels: of the features.
        sizes: groups, and channels of the quantised map.
    """

    def __init__(self, channels: int, sizes: TrunkSizes) -> None:
        super().__init__()
        condition_channels = sizes.z_channels
        self.norm_layer = group_norm(sizes.norm_groups)(channels)
        self.conv_y = nn.Conv2d(condition_channels, channels, 1)
        self.conv_b = nn.Conv2d(condition_channels, channels, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Features (B, C, H, W), quantised map (B, D, h, w) -> (B, C, H, W)."""
        # Upstream enlarges the map first; 1×1 convolutions give the same before, for less work.
        scale, shift = (
            F.interpolate(part(condition), size=x.shape[-2:], mode="nearest")
            for part in (self.conv_y, self.conv_b)
        )
        return torch.addcmul(shift, self.norm_layer(x), scale)


def _time_blocks(config: Emu3Config) -> nn.Sequential:
    width, count = config.trunk.z_channels, config.trunk.num_res_blocks
    return nn.Sequential(*(TimeResnetBlock(width) for _ in range(count)))


class ClipEncoder(Encoder):
    """An image, as a clip that stands still, to one latent frame."""

    def __init__(self, config: Emu3Config) -> None:
        super().__init__(config.trunk)
        self.clip_length = config.clip_length
        width = config.trunk.z_channels
        self.time_conv = nn.Sequential(*(HalveTime(width) for _ in range(config.halvings)))
        self.time_res_stack = _time_blocks(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D, 1, h, w)."""
        # The trunk sees frames one by one, so equal frames need to pass it only once.
        frame = super().forward(x)
        clip = frame.unsqueeze(2).expand(-1, -1, self.clip_length, -1, -1)
        return self.time_res_stack(self.time_conv(clip))


class ClipDecoder(Decoder):
    """A latent frame to the latents of all frames; each of these to an image."""

    def __init__(self, config: Emu3Config) -> None:
        width = config.trunk.z_channels
        super().__init__(config.trunk, norm=partial(SpatialNorm, sizes=config.trunk))
        self.time_res_stack = _time_blocks(config)
        self.time_conv = nn.Sequential(*(DoubleTime(width) for _ in range(config.halvings)))

    def over_time(self, z: Tensor) -> Tensor:
        """(B, D, 1, h, w) -> (B, D, T, h, w)."""
        return self.time_conv(self.time_res_stack(z))


class Emu3Model(nn.Module):
    """Encoder, quantiser and decoder under upstream's keys.

    Images are (B, 3, H, W) in [-1, 1], H and W multiples of the factor f.

    Args:
        config: sizes.
    """

    def __init__(self, config: Emu3Config) -> None:
        super().__init__()
        self.config = config
        width = config.trunk.z_channels
        self.encoder = ClipEncoder(config)
        self.decoder = ClipDecoder(config)
        self.quantize = VectorQuantizer(config.codebook_size, width)
        self.quant_conv = CausalConv3d(width, (3, 1, 1))
        self.post_quant_conv = CausalConv3d(width, (3, 1, 1))

    def encode_latent(self, x: Tensor) -> Tensor:
        """Images -> latent before quantisation (B, D, h, w)."""
        return self.quant_conv(self.encoder(x)).squeeze(2)

    def decode_latent(self, zq: Tensor, *, frames: int = 1) -> Tensor:
        """Quantised latent -> the clip's first frames (B, frames, 3, H, W), not clamped."""
        zq = zq.unsqueeze(2)
        both = self.decoder.over_time(torch.cat([self.post_quant_conv(zq), zq]))
        clips = both[:, :, :frames].transpose(1, 2).unflatten(0, (2, -1))
        latent, condition = clips.flatten(1, 2)
        return self.decoder(latent, condition).unflatten(0, clips.shape[1:3])
