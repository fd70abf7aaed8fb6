"""How VQGAN and Emu3's tokenizer are trained: one codebook by distance, with taming's loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..harness.errors import UsageError
from ..harness.training import parallel
from ..harness.training.reconstruction import Reconstruction, ReconstructionRecipe
from ..harness.training.settings import TrainingSettings
from .emu3_config import Emu3Config
from .emu3_model import Emu3Model
from .recipe_base import PlainTrainable, from_scratch, recipe_of
from .taming_config import VQGANConfig
from .taming_quantizer import VectorQuantizer
from .vqgan_model import VQGANModel

_LEAST_IMAGES = 4
"""In a batch whose own statistics are good enough for Emu3's batch norms."""


class TrainableVQGAN(PlainTrainable[VQGANModel]):
    """A VQGAN that starts from scratch.

    Args:
        config: sizes.
        seed: of the starting weights.

    Raises:
        UsageError: the configuration is of a `GumbelVQ`, which has other losses.
    """

    def __init__(self, config: VQGANConfig, *, seed: int) -> None:
        if config.gumbel:
            message = "a GumbelVQ cannot be trained here: leave out temperature_scheduler_config"
            raise UsageError(message)
        super().__init__(from_scratch(lambda: VQGANModel(config), seed=seed))

    def books(self) -> Sequence[Tensor]:
        """The codes (V, D)."""
        return [_quantizer(self.network).embedding.weight]

    def reconstruct(
        self, images: Tensor, *, quantise: bool, generator: torch.Generator
    ) -> Reconstruction:
        """One pass; the method's loss is that of its quantiser."""
        del generator  # nothing is drawn
        z = self.network.encode_latent(images)
        if not quantise:
            return Reconstruction(self.network.decode_latent(z), _vectors(z))
        found = _quantizer(self.network)(z)
        rec = self.network.decode_latent(found.zq)
        return Reconstruction(rec, _vectors(z), found.indices.reshape(-1, 1), {"vq": found.vq_loss})


class TrainableEmu3(PlainTrainable[Emu3Model]):
    """Emu3's tokenizer from scratch: an image is a clip that stands still, frame 0 is compared.

    Its batch norms take the statistics of a batch of crops, and their running ones for batches of
    one or a few whole images, which would not be those of the data.

    Args:
        config: sizes.
        seed: of the starting weights.
    """

    def __init__(self, config: Emu3Config, *, seed: int) -> None:
        super().__init__(from_scratch(lambda: Emu3Model(config), seed=seed))
        self._norms = [m for m in self.network.modules() if isinstance(m, nn.BatchNorm3d)]

    def books(self) -> Sequence[Tensor]:
        """The codes (V, D)."""
        return [self.network.quantize.embedding.weight]

    def reconstruct(
        self, images: Tensor, *, quantise: bool, generator: torch.Generator
    ) -> Reconstruction:
        """One pass; the method's loss is that of its quantiser."""
        del generator  # nothing is drawn
        for norm in self._norms:
            norm.train(self.network.training and len(images) >= _LEAST_IMAGES)
        z = self.network.encode_latent(images)
        found = self.network.quantize(z) if quantise else None
        rec = self.network.decode_latent(z if found is None else found.zq)[:, 0]
        self._share_statistics()
        if found is None:
            return Reconstruction(rec, _vectors(z))
        return Reconstruction(rec, _vectors(z), found.indices.reshape(-1, 1), {"vq": found.vq_loss})

    @torch.no_grad()
    def _share_statistics(self) -> None:
        """Make the running statistics of all processes their mean."""
        if parallel.world_size() == 1:
            return
        for norm in self._norms:
            if norm.running_mean is None or norm.running_var is None:
                continue
            # New tensors, because the backward pass still needs the old ones unchanged.
            shared = [norm.running_mean.clone(), norm.running_var.clone()]
            parallel.sum_over_processes(shared)
            norm.running_mean, norm.running_var = (s / parallel.world_size() for s in shared)


def _quantizer(network: VQGANModel) -> VectorQuantizer:
    assert isinstance(network.quantize, VectorQuantizer)
    return network.quantize


def _vectors(z: Tensor) -> Tensor:
    """Latent (B, D, h, w) -> (B·h·w, 1, D), without gradient."""
    return z.detach().movedim(1, -1).flatten(0, 2).unsqueeze(1)


def build_vqgan(
    config: Mapping[str, Any], settings: TrainingSettings, work: Path
) -> ReconstructionRecipe:
    """The recipe of a VQGAN; see `recipe_base.recipe_of`."""
    sizes = VQGANConfig.from_mapping(config["model"])
    return recipe_of(TrainableVQGAN(sizes, seed=settings.seed), config, settings, work)


def build_emu3(
    config: Mapping[str, Any], settings: TrainingSettings, work: Path
) -> ReconstructionRecipe:
    """The recipe of Emu3's tokenizer; see `recipe_base.recipe_of`."""
    sizes = Emu3Config.from_mapping(config["model"])
    return recipe_of(TrainableEmu3(sizes, seed=settings.seed), config, settings, work)
