"""Features of the FID Inception network, the only ones whose Fréchet distance is called FID.

The network is that of the package pytorch-fid: torchvision's Inception-v3 with the pooling
of the TensorFlow graph of 2015-12-05. Its own constructor downloads the weights, so the parts are
put together here and the weights come from a local file, checked by hash. For speed batch norm
is folded into the convolutions and tensors are channels-last, which changes the features by
rounding only.

Source: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
equilibrium", NeurIPS 2017; Seitzer, pytorch-fid 0.3.0 (network, resize and input scaling).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ...errors import MissingPrerequisite
from ...file_hashes import file_sha256
from .inception_definition import DIMS, SHA256, URL, variant_definition
from .inception_input import PREPARATIONS
from .protocol import check_image_batch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_STEM = (
    ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"),
    ("Conv2d_3b_1x1", "Conv2d_4a_3x3"),
)
"""Two groups of convolutions, each followed by a 3×3 maximum of stride 2."""

_MIXED = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")


class InceptionExtractor:
    """The 2048 averages over positions of the last block; 11.4 GFLOP per image.

    In the main variant images are resized to 299×299, bilinear with half-pixel centres and without
    antialiasing, and scaled to x · 2/255 - 1; see `inception_input` for the others.

    Nothing is ever downloaded.

    Args:
        path: the weights file.
        sha256: what the file must hash to; only tests have a reason to change it.
        variant: of resize and scaling, one of `VARIANTS`.
        device: where the network runs, ``cpu`` or ``cuda``.

    Raises:
        MissingPrerequisite: the file is absent, or is another file.
    """

    dims = DIMS

    def __init__(
        self,
        path: Path,
        *,
        sha256: str = SHA256,
        variant: str = "",
        device: str | torch.device = "cpu",
    ) -> None:
        _check_file(path, sha256)
        network = _build(torch.load(path, map_location="cpu", weights_only=True))
        _fold_batch_norms(network)
        self.definition = variant_definition(variant) | {"weights_sha256": sha256}
        self.name = str(self.definition["name"])
        self._prepare = PREPARATIONS[variant]
        self._device = torch.device(device)
        self._network = network.to(self._device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (B, 2048) of uint8 images (B, H, W, 3).

        Raises:
            MetricError: no uint8 RGB batch.
        """
        check_image_batch(images, smallest_side=2)
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
        inputs = self._prepare(pixels.permute(0, 3, 1, 2).float())
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        return self._network(inputs).flatten(start_dim=1).cpu().numpy()


def _check_file(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise MissingPrerequisite(
            f"the FID Inception weights are not at {path}.\n"
            f"  get them from {URL}\n"
            "  without them rfid is left out, and rfd_random is computed in its place"
        )
    seen = file_sha256(path)
    if seen != sha256:
        raise MissingPrerequisite(
            f"{path} has sha256 {seen}, the FID Inception weights have {sha256}: an incomplete "
            f"download or another network. Get the file again from {URL}"
        )


def _build(state: Mapping[str, Tensor]) -> nn.Sequential:
    """The network up to the average pool, in evaluation mode, with its weights."""
    from pytorch_fid import inception as fid
    from torchvision.models import inception_v3

    whole = inception_v3(weights=None, init_weights=False, aux_logits=False, num_classes=1008)
    for name, inputs, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        setattr(whole, f"Mixed_{name}", fid.FIDInceptionA(inputs, pool_features=pooled))
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        setattr(whole, f"Mixed_{name}", fid.FIDInceptionC(768, channels_7x7=width))
    whole.Mixed_7b = fid.FIDInceptionE_1(1280)
    whole.Mixed_7c = fid.FIDInceptionE_2(2048)
    whole.load_state_dict(dict(state))
    steps: list[nn.Module] = []
    for group in _STEM:
        steps += [getattr(whole, name) for name in group]
        steps.append(nn.MaxPool2d(kernel_size=3, stride=2))
    steps += [getattr(whole, f"Mixed_{name}") for name in _MIXED]
    return nn.Sequential(*steps, nn.AdaptiveAvgPool2d(1)).eval().requires_grad_(False)


def _fold_batch_norms(network: nn.Module) -> None:
    """Multiply each batch norm into the convolution before it, in place."""
    from torchvision.models.inception import BasicConv2d

    for block in network.modules():
        if isinstance(block, BasicConv2d):
            block.conv = fuse_conv_bn_eval(block.conv, block.bn)
            block.add_module("bn", nn.Identity())
