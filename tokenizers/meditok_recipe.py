"""How MedITok is trained to reconstruct: its own quantiser's loss beside the common terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..harness.training import parallel
from ..harness.training.reconstruction import (
    Reconstruction,
    ReconstructionPlan,
    ReconstructionRecipe,
)
from ..harness.training.settings import TrainingSettings
from .initialisation import build_from_scratch
from .meditok_config import MedITokConfig


class TrainableMedITok:
    """A MedITok or UniTok network that starts from scratch.

    Args:
        config: sizes.
        seed: of the starting weights.
        causal: whether the projections are masked.
    """

    spherical = True

    def __init__(self, config: MedITokConfig, *, seed: int, causal: bool = True) -> None:
        self.network = build_from_scratch(config, seed=seed, causal=causal)

    def books(self) -> Sequence[torch.Tensor]:
        """The K books' raw codes."""
        return [book.codebook.weight for book in self.network.quantizer.books]

    def reconstruct(
        self, images: torch.Tensor, *, quantise: bool, generator: torch.Generator
    ) -> Reconstruction:
        """One pass; the method's loss is that of its quantiser."""
        del generator  # nothing is drawn
        output = self.network(images, quantise=quantise)
        vectors = output.z.detach().flatten(0, 1)
        if output.quantised is None:
            return Reconstruction(output.rec, vectors)
        self._share_usage()
        indices = output.quantised.indices.transpose(1, 2).flatten(0, 1)
        return Reconstruction(output.rec, vectors, indices, {"vq": output.quantised.vq_loss})

    def export(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As they are: the keys are upstream's."""
        return dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """The quantisers' batch counts (their usage itself is a buffer of the network)."""
        return {"batches_seen": [book.batches_seen for book in self.network.quantizer.books]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for book, count in zip(self.network.quantizer.books, state["batches_seen"], strict=True):
            book.batches_seen = int(count)

    @torch.no_grad()
    def _share_usage(self) -> None:
        """Make the usage records of all processes their mean."""
        usages = [book.vocab_usage for book in self.network.quantizer.books]
        parallel.sum_over_processes(usages)
        for usage in usages:
            usage.div_(parallel.world_size())


def build(
    config: Mapping[str, Any], settings: TrainingSettings, work: Path
) -> ReconstructionRecipe:
    """The recipe of a preset.

    Args:
        config: `model` (upstream's terms) and `plan` (the fields of `ReconstructionPlan`).
        settings: of the run.
        work: folder for the image pools.
    """
    sizes = MedITokConfig.from_mapping(config["model"])
    return ReconstructionRecipe(
        TrainableMedITok(sizes, seed=settings.seed),
        ReconstructionPlan.from_mapping(config["plan"]),
        work / "pools",
        seed=settings.seed,
        workers=max(settings.threads, 1),
    )
