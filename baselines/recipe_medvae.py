"""How MedVAE is trained: a posterior that is drawn from, and a little divergence from the normal.

Stage 1 of Varma et al. 2025 (arXiv:2502.14753). Their second stage, which fits the latent's
projection to BiomedCLIP, is not done here: a network trained so has no projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.errors import UsageError
from ..harness.training.reconstruction import Reconstruction, ReconstructionRecipe
from ..harness.training.settings import TrainingSettings
from .medvae_model import MedVAEModel
from .recipe_base import PlainTrainable, from_scratch, read_method, recipe_of
from .taming_config import MedVAEConfig

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class MedVAEMethod:
    """Weights of the method's own losses."""

    kl_weight: float
    """Of the divergence from the unit Gaussian, against an error that is summed over an image."""


class TrainableMedVAE(PlainTrainable[MedVAEModel]):
    """A MedVAE that starts from scratch.

    Args:
        config: sizes.
        method: weights of its losses.
        seed: of the starting weights.

    Raises:
        UsageError: the configuration asks for adapters or for the projection, which this training
            leaves as they were drawn.
    """

    def __init__(self, config: MedVAEConfig, method: MedVAEMethod, *, seed: int) -> None:
        if config.lora_rank is not None or config.apply_channel_ds:
            message = (
                "training MedVAE from scratch fits neither adapters nor the projection: leave out "
                "lora_rank and set apply_channel_ds to false"
            )
            raise UsageError(message)
        super().__init__(from_scratch(lambda: MedVAEModel(config), seed=seed))
        self.method = method

    def reconstruct(
        self, images: Tensor, *, quantise: bool, generator: torch.Generator
    ) -> Reconstruction:
        """One pass: a draw from the posterior in training, its mean in evaluation.

        A one-channel network sees the images' luma, and is compared with it.
        """
        del quantise  # there are no codes
        target = images
        if self.network.config.trunk.in_channels == 1:
            weights = images.new_tensor(_LUMA).view(1, 3, 1, 1)
            target = (images * weights).sum(dim=1, keepdim=True)
        posterior = self.network.encode(target)
        latent = posterior.mean
        if self.network.training:
            noise = torch.randn(latent.shape, generator=generator).to(latent)
            latent = latent + (posterior.logvar / 2).exp() * noise
        # Upstream adds it to an error summed over the image; here the error is a mean.
        share = posterior.kl().mean() / target[0].numel()
        rec = self.network.decode_latent(latent)
        terms = {"kl": self.method.kl_weight * share}
        return Reconstruction(rec, terms=terms, target=target)


def build(
    config: Mapping[str, Any], settings: TrainingSettings, work: Path
) -> ReconstructionRecipe:
    """The recipe of a MedVAE; see `recipe_base.recipe_of`. `method` is a `MedVAEMethod`."""
    sizes = MedVAEConfig.from_mapping(config["model"])
    method = read_method(config, MedVAEMethod)
    return recipe_of(TrainableMedVAE(sizes, method, seed=settings.seed), config, settings, work)
