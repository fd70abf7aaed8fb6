"""A small classifier of a data set, trained on its originals by one fixed recipe.

It stands for a reader who has learnt on originals and is then shown reconstructions or samples.
It is trained once per images, classes and recipe, on the CPU or GPU of the run, and kept in the
cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ..harness import ranks
from ..harness.exclusive import exclusive
from ..harness.file_hashes import file_sha256
from ..harness.files import hash_value, sha256_bytes
from ..harness.locations import cache_root
from ..harness.progress import track
from ..harness.sealed import is_whole, write_sealed
from ..harness.weights import read_state_dict
from .classifier_recipe import ClassifierRecipe

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ..harness.datasets.store import ImageStore

_WIDTHS = (16, 32, 64, 64)
_READ = 64


@dataclass(frozen=True, slots=True)
class Classifier:
    """A trained network.

    Attributes:
        network: float32 (B, 3, S, S) in [-1, 1] -> logits (B, C).
        recipe: that it was trained by.
        sha256: of its weights.
        device: where it is.
    """

    network: nn.Module
    recipe: ClassifierRecipe
    sha256: str
    device: str

    @torch.inference_mode()
    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (n, C) of images (n, H, H, 3)."""
        parts = [
            self.network(_prepared(images[i : i + _READ], self.recipe.side, self.device))
            for i in range(0, len(images), _READ)
        ]
        return torch.cat(parts).float().cpu().numpy()

    def name(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The most likely class of each image, int64 (n,)."""
        return self.logits(images).argmax(axis=1)


def trained_classifier(
    store: ImageStore,
    targets: NDArray[np.int64],
    recipe: ClassifierRecipe,
    *,
    rivals: NDArray[np.bool_] | None = None,
    device: str,
) -> Classifier:
    """The classifier for these images and classes: from the cache, or trained now.

    Args:
        store: originals of the training part.
        targets: int64 (N,), class of each image, all classes from 0 up; -1 leaves an image out.
        recipe: of the training.
        rivals: (C, C), row by row which classes an image of a class could belong to: the others
            take no part in its loss. None: all.
        device: where it is trained and run.
    """
    apart = None if rivals is None else rivals.tolist()
    facts = [recipe.terms(), store.fingerprint, sha256_bytes(targets.data), apart]
    key = hash_value([*facts, device.split(":")[0]])[:32]
    path = cache_root() / "classifiers" / f"{key}.safetensors"
    network = _network(int(targets.max()) + 1, recipe.seed)

    def make() -> None:
        with exclusive(f"classifier-{key}", "the classifier"):
            if not is_whole(path):
                _train(network.to(device), store, targets, recipe, rivals)
                _keep(network, path)

    ranks.first(make)
    # Both ways through the file: a run that trains and one that reads get equal networks.
    network.load_state_dict(read_state_dict(path))
    return Classifier(
        network.to(device).eval().requires_grad_(False), recipe, file_sha256(path), device
    )


def _keep(network: nn.Module, path: Path) -> None:
    state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
    write_sealed(path, save_tensors(state))


def _network(classes: int, seed: int) -> nn.Module:
    layers: list[nn.Module] = []
    inputs = 3
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for width in _WIDTHS:
            convolution = nn.Conv2d(inputs, width, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
            inputs = width
        head = nn.Linear(2 * inputs, classes)
    return nn.Sequential(*layers, _MeanAndMaximum(), head)


class _MeanAndMaximum(nn.Module):
    """Mean and maximum over positions: a small lesion shows in the maximum."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 2 C)."""
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1)


def _prepared(images: NDArray[np.uint8], side: int, device: str) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2)
    small = F.interpolate(pixels.float(), (side, side), mode="area")
    return small.div_(127.5).sub_(1.0)


def _train(
    network: nn.Module,
    store: ImageStore,
    targets: NDArray[np.int64],
    recipe: ClassifierRecipe,
    rivals: NDArray[np.bool_] | None,
) -> None:
    """Fit the network in place."""
    device = str(next(network.parameters()).device)
    members = [np.flatnonzero(targets == number) for number in range(int(targets.max()) + 1)]
    options: dict[str, Any] = {"lr": recipe.rate, "weight_decay": recipe.decay}
    optimiser = torch.optim.AdamW(network.parameters(), **options)
    steps = recipe.steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, total_steps=steps)
    generator = torch.Generator().manual_seed(recipe.seed)
    network.train()
    for _ in track(range(steps), total=steps, label="training the classifier"):
        wanted = torch.randint(len(members), (recipe.batch,), generator=generator)
        places = torch.rand(recipe.batch, generator=generator).tolist()
        of_class = [members[number] for number in wanted.tolist()]
        rows = [found[int(p * len(found))] for found, p in zip(of_class, places, strict=True)]
        images = np.stack([store.images[row] for row in rows])
        logits = network(_moved(_prepared(images, recipe.side, device), recipe, generator))
        if rivals is not None:
            apart = ~torch.from_numpy(rivals)[wanted].to(device)
            logits = logits.masked_fill(apart, -1e4)
        loss = F.cross_entropy(logits, wanted.to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def _moved(images: Tensor, recipe: ClassifierRecipe, generator: torch.Generator) -> Tensor:
    """Mirrored half of the time, and shifted; brightness and contrast a little changed."""
    count, reach, side, device = len(images), recipe.shift, recipe.side, images.device
    mirrored = (torch.rand(count, generator=generator) < 0.5).to(device)
    images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    dx, dy = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
    images = F.pad(images, (reach,) * 4, mode="replicate")
    images = images[:, :, reach + dy : reach + dy + side, reach + dx : reach + dx + side]
    gain, offset = torch.rand(2, count, 1, 1, 1, generator=generator).to(device)
    return images * (1.0 + recipe.light * (2.0 * gain - 1.0)) + recipe.light * (2.0 * offset - 1.0)
