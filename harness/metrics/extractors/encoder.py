"""Pooled features of timm's and open_clip's image encoders, as an extractor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import UsageError
from .protocol import check_image_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .named import NamedExtractor


@dataclass(frozen=True, slots=True)
class _Network:
    """A network with the preprocessing of its weights."""

    pooled: Callable[[Tensor], Tensor]
    """(B, 3, side, side), normalised -> (B, d)."""
    module: Any
    side: int
    mean: Sequence[float]
    std: Sequence[float]


class EncoderExtractor:
    """The vector that the network gives for a whole image: what its own head would read.

    Args:
        named: the network and its weights file.
        device: where it runs, ``cpu`` or ``cuda``.

    Raises:
        UsageError: the file does not fill the network, or only a part of it.
    """

    def __init__(self, named: NamedExtractor, device: str | torch.device = "cpu") -> None:
        load = {"timm": _load_timm, "open_clip": _load_open_clip}[named.library]
        try:
            network = load(named, seed=0)
        except Exception as error:  # the libraries let every loader's own kinds of error through
            message = (
                f"--extractor {named.name}: {named.path} does not fit "
                f"({type(error).__name__}: {error})"
            )
            raise UsageError(message) from error
        if unfilled := _unfilled(network.module, load(named, seed=1).module):
            message = (
                f"--extractor {named.name}: {named.path} leaves {len(unfilled)} tensors of the "
                f"network random, such as {unfilled[0]}: it holds another one"
            )
            raise UsageError(message)
        self.name, self.definition = named.name, named.definition
        self._device, self._network = torch.device(device), network
        network.module.to(self._device).eval().requires_grad_(False)
        self._mean = torch.tensor(network.mean).view(1, 3, 1, 1).to(self._device)
        self._std = torch.tensor(network.std).view(1, 3, 1, 1).to(self._device)
        with torch.inference_mode():
            blank = torch.zeros(1, 3, network.side, network.side, device=self._device)
            self.dims = int(network.pooled(blank).shape[1])

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (B, d) of uint8 images (B, H, W, 3).

        Raises:
            MetricError: no uint8 RGB batch.
        """
        check_image_batch(images, smallest_side=2)
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
        scaled = pixels.permute(0, 3, 1, 2).float().div_(255.0)
        size = (self._network.side, self._network.side)
        if scaled.shape[-2:] != size:
            scaled = F.interpolate(scaled, size, mode="bicubic", antialias=True).clamp_(0.0, 1.0)
        found = self._network.pooled((scaled - self._mean) / self._std)
        return found.float().cpu().numpy()


def _unfilled(one: nn.Module, other: nn.Module) -> list[str]:
    """Tensors that differ between two loads: the libraries leave what a file lacks at random."""
    state = other.state_dict()
    return [name for name, value in one.state_dict().items() if not torch.equal(value, state[name])]


def _load_timm(named: NamedExtractor, *, seed: int) -> _Network:
    import timm

    overlay = {"file": str(named.path), "hf_hub_id": None, "url": ""}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = timm.create_model(
            named.model, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
        )
    facts = timm.data.resolve_model_data_config(model)  # type: ignore[attr-defined]
    return _Network(model, model, int(facts["input_size"][-1]), facts["mean"], facts["std"])


def _load_open_clip(named: NamedExtractor, *, seed: int) -> _Network:
    import open_clip

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = open_clip.create_model(
            named.model.partition("/")[0],
            pretrained=str(named.path),
            load_weights=True,
            weights_only=True,
        )
    facts = model.visual.preprocess_cfg
    size = facts.get("size", 224)
    side = size if isinstance(size, int) else int(size[0])
    return _Network(model.encode_image, model, side, facts["mean"], facts["std"])
