"""The network of LPIPS version 0.1 through its authors' package, filled from local files only.

Source: Zhang, Isola, Efros, Shechtman, Wang, "The unreasonable effectiveness of deep features as a
perceptual metric", CVPR 2018.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..weights_file import read_content
from .image_pairs import check_image_pairs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BATCH = 8
"""Pairs per call: fixed, so that scores do not depend on the run's batch size."""
SMALLEST_SIDE = 48
"""Below it the trunk's last maps would be a few pixels."""


class Lpips:
    """LPIPS of uint8 image pairs; lower is better, 0 for equal images.

    Args:
        trunk: `alex` or `vgg`.
        path: the trunk's weights, torchvision's file or one of the whole LPIPS network.
        device: where the network runs, ``cpu`` or ``cuda``.

    Raises:
        UsageError: the file does not hold that trunk.
    """

    def __init__(self, trunk: str, path: Path, *, device: str | torch.device = "cpu") -> None:
        network = lpips_network(trunk, path).requires_grad_(False)
        self._device = torch.device(device)
        self._network = network.to(self._device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(
        self, reference: NDArray[np.uint8], candidate: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        """The distance of each pair, uint8 (N, H, W, 3) twice -> float64 (N,).

        Raises:
            MetricError: the arrays are no uint8 image pairs, or sides are below 48 pixels.
        """
        check_image_pairs(reference, candidate, smallest_side=SMALLEST_SIDE)
        values = np.empty(len(reference), dtype=np.float64)
        for start in range(0, len(reference), BATCH):
            rows = slice(start, start + BATCH)
            distance = self._network(self._input(reference[rows]), self._input(candidate[rows]))
            values[rows] = distance.flatten().double().cpu().numpy()
        return values

    def _input(self, images: NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
        return pixels.float().div_(127.5).sub_(1.0).permute(0, 3, 1, 2)


def lpips_network(trunk: str, path: Path) -> nn.Module:
    """The package's network with a trunk from a file; images (B, 3, H, W) in [-1, 1].

    Raises:
        UsageError: the file does not hold that trunk.
    """
    import lpips

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # torchvision: `pretrained` is deprecated
        network = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    _load_trunk(network, path)
    return network.eval()


def _load_trunk(network: nn.Module, path: Path) -> None:
    """Fill the trunk from a file of torchvision, or everything from one of LPIPS."""
    content = read_content(path)
    wanted = network.state_dict()
    own = {key: key if key in content else _torchvision_key(key) for key in wanted}
    trunk = [key for key in wanted if key.startswith("net.")]
    if absent := [key for key in trunk if own[key] not in content]:
        message = f"{path} holds no {own[absent[0]]}: it is not the trunk that this LPIPS needs"
        raise UsageError(message)
    found = {key: content[own[key]] for key in wanted if own[key] in content}
    try:
        network.load_state_dict(found, strict=False)
    except RuntimeError as error:
        message = f"{path} holds another trunk: {error}"
        raise UsageError(message) from error


def _torchvision_key(key: str) -> str:
    """`net.slice2.5.weight` -> `features.5.weight`: slices keep torchvision's numbers."""
    return "features." + ".".join(key.split(".")[2:]) if key.startswith("net.") else key
