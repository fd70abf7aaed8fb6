"""A small classifier of a data set, trained on its originals by one fixed recipe.

It stands for a reader who has learnt on originals and is then shown reconstructions. One network
serves all groups of a data set: its classes are pairs of group and label, and within an image's
group the others are left out. It is trained once per training part, on the CPU or GPU of the run,
and kept in the cache.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ...harness.files import hash_value, sha256_bytes, write_bytes
from ...harness.locations import cache_root
from ...harness.progress import track
from ...harness.weights import read_state_dict
from .retention import RECIPE, classes_of

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore

logger = logging.getLogger(__name__)

_WIDTHS = (16, 32, 64, 64)
_READ = 64


@dataclass(frozen=True, slots=True)
class Classifier:
    """A trained network and what it tells apart.

    Attributes:
        network: uint8-valued float32 (B, 3, S, S) in [-1, 1] -> logits (B, classes).
        classes: (group, label) of each logit.
        sha256: of its weights.
    """

    network: nn.Module
    classes: tuple[tuple[str, str], ...]
    sha256: str
    device: str

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Logits, float32 (n, classes), of uint8 images (n, H, H, 3)."""
        batches = range(0, len(images), _READ)
        return np.concatenate(
            [
                self.network(_prepared(images[i : i + _READ], self.device)).float().cpu().numpy()
                for i in batches
            ]
        )


def trained_classifier(store: ImageStore, *, device: str) -> Classifier:
    """The classifier of a training part: from the cache, or trained now.

    Args:
        store: the training part, labelled.
        device: where it is trained and run.
    """
    classes = classes_of(store.rows)
    key = hash_value([RECIPE, store.fingerprint, device.split(":")[0]])[:32]
    path = cache_root() / "classifiers" / f"{key}.safetensors"
    network = _network(len(classes))
    if path.is_file():
        network.load_state_dict(read_state_dict(path))
    else:
        _train(network.to(device), store, classes, device)
        state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
        write_bytes(path, save_tensors(state))
        # Both ways through the file: a run that trains and one that reads get equal networks.
        network.load_state_dict(load_tensors(path.read_bytes()))
    made = network.to(device).eval().requires_grad_(False)
    return Classifier(made, classes, sha256_bytes(path.read_bytes()), device)


def _network(classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    inputs = 3
    for width in _WIDTHS:
        layers += [
            nn.Conv2d(inputs, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]
        inputs = width
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(RECIPE["seed"]))
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        head = nn.Linear(2 * inputs, classes)
    return nn.Sequential(*layers, _MeanAndMaximum(), head)


class _MeanAndMaximum(nn.Module):
    """Mean and maximum over positions: a small lesion shows in the maximum."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 2 C)."""
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)


def _prepared(images: np.ndarray, device: str) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    side = int(RECIPE["side"])
    small = F.interpolate(pixels.float(), (side, side), mode="area")
    return small.div_(127.5).sub_(1.0)


def _train(
    network: nn.Module, store: ImageStore, classes: tuple[tuple[str, str], ...], device: str
) -> None:
    """Fit the network in place, by `RECIPE`."""
    numbers = {name: number for number, name in enumerate(classes)}
    labelled = np.array([i for i, row in enumerate(store.rows) if row.label is not None])
    named = [(row.group, str(row.label)) for row in store.rows if row.label is not None]
    targets = torch.tensor([numbers[name] for name in named])
    groups = _same_group(classes)[targets]
    batch, steps = int(RECIPE["batch"]), int(RECIPE["steps"])
    options: dict[str, Any] = {"lr": RECIPE["rate"], "weight_decay": RECIPE["decay"]}
    optimiser = torch.optim.AdamW(network.parameters(), **options)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RECIPE["rate"], total_steps=steps)
    generator = torch.Generator().manual_seed(int(RECIPE["seed"]))
    network.train()
    for _ in track(range(steps), total=steps, label="training the classifier"):
        chosen = torch.randint(len(labelled), (batch,), generator=generator)
        images = _prepared(store.images[labelled[chosen.numpy()]], device)
        images = _moved(images, generator)
        logits = network(images).masked_fill(~groups[chosen].to(device), -1e4)
        loss = F.cross_entropy(logits, targets[chosen].to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def _moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrored half of the time, and shifted; brightness and contrast a little changed."""
    count, reach, device = len(images), int(RECIPE["shift"]), images.device
    mirrored = (torch.rand(count, generator=generator) < 0.5).to(device)
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    dx, dy = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
    images = F.pad(images, (reach,) * 4, mode="replicate")
    side = int(RECIPE["side"])
    images = images[:, :, reach + dy : reach + dy + side, reach + dx : reach + dx + side]
    gain, offset = torch.rand(2, count, 1, 1, 1, generator=generator).to(device)
    light = float(RECIPE["light"])
    return images * (1.0 + light * (2.0 * gain - 1.0)) + light * (2.0 * offset - 1.0)


def _same_group(classes: tuple[tuple[str, str], ...]) -> Tensor:
    """bool (classes, classes): whether two classes belong to one group."""
    groups = np.array([group for group, _ in classes])
    return torch.from_numpy(groups[:, None] == groups[None, :])
