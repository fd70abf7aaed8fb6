"""How different two images look, as a loss: distances between features of frozen networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import MissingPrerequisite, UsageError
from ..metrics.lpips_file import FILES, PLACE
from ..metrics.lpips_network import lpips_network
from .config_terms import read_fields
from .frozen import Frozen

_SMALLEST_SIDE = 48
"""Below it LPIPS is 0, as upstream; the trunk's last maps would be a few pixels."""


@dataclass(frozen=True, slots=True)
class PerceptualTerms:
    """Which perceptual distance, and how much of it.

    Attributes:
        kind: `lpips-vgg` and `lpips-alex` (Zhang et al. 2018) need the ImageNet weights of their
            trunk; `random-conv` needs none.
        weight: of the loss among the others.
        weights: for `lpips-*`, a file of torchvision's trunk or of the whole LPIPS network; None
            looks for torchvision's file in torch's own download folder.
        channels: for `random-conv`, of its layers; each halves the side.
        seed: for `random-conv`, of its weights.
    """

    kind: Literal["lpips-vgg", "lpips-alex", "random-conv"]
    weight: float
    weights: str | None = None
    channels: tuple[int, ...] = (16, 32, 64)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.weight < 0 or not self.channels or min(self.channels) < 1:
            message = f"a perceptual loss needs a weight from 0 up and positive channels: {self}"
            raise UsageError(message)

    @classmethod
    def from_mapping(cls, terms: Mapping[str, Any]) -> PerceptualTerms:
        """Read them from a configuration.

        Raises:
            UsageError: a field is unknown, missing or of the wrong kind.
        """
        return read_fields(cls, terms, "perceptual")


def build_perceptual(terms: PerceptualTerms) -> nn.Module:
    """The distance (rec, target) -> scalar, mean over the images; unweighted.

    Both are float32 (B, 3, H, W) in [-1, 1]. The module is frozen and in evaluation mode, has no
    parameters and an empty state dict, and computes in float32 under autocast too.

    Raises:
        MissingPrerequisite: the weights of the trunk are not on this machine.
        UsageError: the file is there and holds something else.
    """
    path = find_trunk(terms)
    if path is None:
        return RandomFeatureDistance(terms.channels, seed=terms.seed)
    return LPIPSDistance(terms.kind.removeprefix("lpips-"), path)


def find_trunk(terms: PerceptualTerms) -> Path | None:
    """The file of LPIPS's trunk; None for a kind that needs none.

    Raises:
        MissingPrerequisite: it is not on this machine.
    """
    if terms.kind == "random-conv":
        return None
    name = FILES[terms.kind.removeprefix("lpips-")]
    default = Path(torch.hub.get_dir()) / "checkpoints" / name
    path = Path(terms.weights) if terms.weights else default
    if not path.is_file():
        message = (
            f"{terms.kind} needs the ImageNet weights of its trunk, and {path} is not there. Get "
            f"{PLACE}{name} and name it in perceptual.weights, or take kind: random-conv, which "
            "needs no weights."
        )
        raise MissingPrerequisite(message)
    return path


class RandomFeatureDistance(nn.Module):
    """LPIPS without weights: features of random convolutions, all channels counting alike.

    A layer is a 3×3 convolution of stride 2 and a leaky ReLU; the distance is the mean over layers
    of the squared difference of unit-length feature vectors. Random networks judge less well than
    trained ones (Zhang et al. 2018), but see edges and textures that a squared error forgives.

    Args:
        channels: of the layers; each halves the side.
        seed: of the weights.
    """

    def __init__(self, channels: tuple[int, ...], *, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
                for inputs, outputs in pairwise((3, *channels))
            ]
            for layer in layers:
                nn.init.orthogonal_(layer.weight, gain=2**0.5)
                nn.init.normal_(layer.bias, std=0.1)  # pyright: ignore[reportArgumentType]
        # Channels last: half the time on a CPU.
        self.layers = Frozen(nn.ModuleList(layers)).to(memory_format=torch.channels_last)

    def forward(self, rec: Tensor, target: Tensor) -> Tensor:
        """(B, 3, H, W) twice -> scalar."""
        with torch.autocast(rec.device.type, enabled=False):
            pairs = zip(self._features(rec.float()), self._features(target.float()), strict=True)
            gaps = [(first - second).square().sum(dim=1).mean() for first, second in pairs]
        return torch.stack(gaps).mean()

    def _features(self, x: Tensor) -> list[Tensor]:
        found = []
        for layer in self.layers.network.children():
            x = F.leaky_relu(layer(x), 0.2)
            found.append(F.normalize(x, dim=1, eps=1e-6))
        return found


class LPIPSDistance(nn.Module):
    """LPIPS version 0.1 through its authors' package (Zhang et al. 2018).

    Args:
        trunk: `vgg` or `alex`.
        path: file of the trunk or of the whole network.
    """

    def __init__(self, trunk: str, path: Path) -> None:
        super().__init__()
        self.network = Frozen(lpips_network(trunk, path))

    def forward(self, rec: Tensor, target: Tensor) -> Tensor:
        """(B, 3, H, W) twice -> scalar; 0 where H is below 48."""
        if rec.shape[-2] < _SMALLEST_SIDE:
            return rec.new_zeros(())
        with torch.autocast(rec.device.type, enabled=False):
            return self.network(rec.float(), target.float()).mean()
