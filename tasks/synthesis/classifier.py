"""A small network that names images, trained on originals: does a sample look like its class?

Its own accuracy on originals and on reconstructions of held-out images stands beside every value:
a sample cannot be named better than the real thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...harness.files import hash_value
from ...harness.locations import cache_root
from ...harness.training import parallel
from ...harness.training.checkpoint import export_weights
from ...harness.training.loop import Trainer
from ...harness.training.recipe import Recipe, StepLosses
from ...harness.training.settings import OptimiserSettings, TrainingSettings
from ...harness.weights import load_into, read_state_dict
from .namer_definition import BATCH, LEARNING_RATE, SIDE, WIDTHS

if TYPE_CHECKING:
    from ...harness.datasets.store import ImageStore

"""Of the cache."""
_VERSION = 1
_ROWS = 64


class Namer(nn.Module):
    """Four strided convolutions, mean and maximum over positions, one linear layer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for before, after in zip((3, *WIDTHS), WIDTHS, strict=False):
            steps += [
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                nn.GroupNorm(4, after),
                nn.SiLU(),
            ]
        self.trunk = nn.Sequential(*steps)
        self.last = nn.Linear(2 * WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, H, H, 3) -> logits (B, classes)."""
        x = images.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
        maps = self.trunk(F.interpolate(x, (SIDE, SIDE), mode="area"))
        return self.last(torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1))

    @torch.inference_mode()
    def name(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, H, H, 3) -> class numbers, int64 (n,)."""
        device = self.last.weight.device
        parts = [
            self(torch.from_numpy(np.ascontiguousarray(images[i : i + _ROWS])).to(device)).argmax(1)
            for i in range(0, len(images), _ROWS)
        ]
        return torch.cat(parts).cpu().numpy()


class _NamerRecipe(Recipe):
    def __init__(self, network: Namer, store: ImageStore, classes: np.ndarray, seed: int) -> None:
        self.model = network
        self._store, self._classes, self._seed = store, classes, seed
        # Classes are drawn equally often: a set with few images of one would else not learn it.
        self._rows = [np.flatnonzero(classes == c) for c in range(int(classes.max()) + 1)]

    def batches(self, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        step = first_step
        while True:
            source = np.random.default_rng([self._seed, step])
            drawn = source.integers(len(self._rows), size=BATCH)
            rows = np.array([source.choice(self._rows[c]) for c in drawn])[parallel.own_rows(BATCH)]
            images = np.stack([self._store.images[row] for row in rows])
            yield torch.from_numpy(images), torch.from_numpy(self._classes[rows])
            step += 1

    def losses(
        self, step: int, batch: tuple[Tensor, Tensor], generator: torch.Generator
    ) -> StepLosses:
        del step, generator
        images, classes = batch
        device = next(self.model.parameters()).device
        logits, wanted = self.model(images.to(device)), classes.to(device)
        right = (logits.detach().argmax(1) == wanted).float().mean()
        loss = F.cross_entropy(logits.float(), wanted)
        return StepLosses({"cross_entropy": loss}, {"accuracy": right}, len(images))

    def export(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(weights)


def trained_namer(store: ImageStore, classes: np.ndarray, *, steps: int, device: str) -> Namer:
    """The network for these images and classes: kept, or trained now.

    Args:
        store: original images.
        classes: int64 (N,), from 0; every class occurs.
        steps: of the training.
        device: torch device.
    """
    settings = TrainingSettings(
        steps=steps,
        optimiser=OptimiserSettings(learning_rate=LEARNING_RATE, weight_decay=0.01),
        log_every=max(1, min(50, steps)),
    )
    config: dict[str, Any] = {
        "version": _VERSION,
        "data": store.fingerprint,
        "classes": classes.tolist() if len(classes) < 4096 else hash_value(classes.tolist()),
        "settings": asdict(settings),
    }
    folder = cache_root() / "classifiers" / hash_value(config)[:32]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = Namer(int(classes.max()) + 1)
    path = folder / "weights.safetensors"
    if not path.is_file():
        recipe = _NamerRecipe(network, store, classes, settings.seed)
        trainer = Trainer(recipe, settings, folder, config=config, device=device)
        trainer.resume()
        export_weights(path, recipe.export(trainer.run()))
    load_into(network, read_state_dict(path), name=str(path))
    return network.to(device).eval()
