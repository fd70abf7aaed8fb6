"""Features of a fixed network with random weights: no download, the same everywhere.

Distances between random features see blur, noise, compression and shifts of colour, but no
semantics; they are a house metric (`rfd_random`, `kid_random`) that is never ranked and never
called FID.

Source of the idea: Naeem, Oh, Uh, Choi, Yoo, "Reliable fidelity and diversity metrics for
generative models", ICML 2020, section 4 (they use a VGG-16 of random weights).
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from .philox import fan_in_weights, uniform_weights
from .protocol import check_image_batch
from .random_definition import CHANNELS, DEFINITION, DIMS, SEED

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

KERNEL = 3
BIAS_SPREAD = 0.1
SMALLEST_SIDE = 64


class RandomConvExtractor:
    """Five 3×3 convolutions of stride 2 with ReLU; mean and spread of each of the last 256 maps.

    0.37 GFLOP for a 256×256 image. Pixels are scaled to x / 127.5 - 1, edges are replicated.
    Weights are uniform with variance 2 / fan_in, which keeps the second moment through a ReLU,
    biases uniform in ±0.1. Means alone would miss texture; the standard deviation over the 8×8
    positions is the other half of the features.

    Args:
        device: where the network runs, ``cpu`` or ``cuda``.
    """

    name = str(DEFINITION["name"])
    dims = DIMS
    definition = DEFINITION

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self._device = torch.device(device)
        self._layers = tuple(
            (torch.from_numpy(weight).to(self._device), torch.from_numpy(bias).to(self._device))
            for weight, bias in weights()
        )

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (B, 512) of uint8 images (B, H, W, 3), sides of at least 64 pixels.

        Raises:
            MetricError: no uint8 RGB batch, or images that are too small.
        """
        check_image_batch(images, SMALLEST_SIDE)
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
        maps = pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
        for weight, bias in self._layers:
            maps = _layer(maps, weight, bias)
        variance, mean = torch.var_mean(maps, dim=(2, 3), correction=0)
        return torch.cat([mean, variance.sqrt()], dim=1).cpu().numpy()


def _layer(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    return F.relu(F.conv2d(padded, weight, bias, stride=2))


def weights() -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weight (out, in, 3, 3) and bias (out,) of each layer, by the rule in `philox`."""
    layers = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(CHANNELS)):
        shape = (outputs, inputs, KERNEL, KERNEL)
        weight = fan_in_weights(SEED, f"layers.{i}.weight", shape, gain=math.sqrt(2.0))
        bias = uniform_weights(SEED, f"layers.{i}.bias", (outputs,), spread=BIAS_SPREAD)
        layers.append((weight, bias))
    return layers
