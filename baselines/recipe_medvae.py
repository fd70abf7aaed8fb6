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
from ..harness.training import parallel
from ..harness.training.settings import TrainingSettings
from ..harness.training.tokenizer_build import build_tokenizer_recipe
from ..harness.training.tokenizer_recipe import TokenizerRecipe
from ..harness.training.trainable import Reconstruction
from .medvae_model import MedVAEModel
from .recipe_base import PlainMethod, PlainTrainable, first_code, from_scratch, read_method
from .taming_config import MedVAEConfig

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True, kw_only=True)
class MedVAEMethod(PlainMethod):
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
        trunk = config.trunk
        super().__init__(
            from_scratch(lambda: MedVAEModel(config), method, seed=seed),
            first_code(method, config.embed_dim, trunk.downsample, channels=trunk.in_channels),
        )
        self.method = method

    @property
    def last_layer(self) -> Tensor:
        """The kernel that makes pixels."""
        return self.network.decoder.conv_out.weight

    def reconstruct(
        self, images: Tensor, *, quantise: bool, generator: torch.Generator
    ) -> Reconstruction:
        """One pass: a draw from the posterior in training, its mean in evaluation.

        A one-channel network sees the images' luma, and is compared with it.
        """
        target = images
        if self.network.config.trunk.in_channels == 1:
            weights = images.new_tensor(_LUMA).view(1, 3, 1, 1)
            target = (images * weights).sum(dim=1, keepdim=True)
        posterior = self.network.encode(target)
        # There are no codes, so what others learn before they have any is learnt as long.
        latent, terms = (posterior.mean, {}) if quantise else self.guided(posterior.mean, target)
        if self.network.training:
            # Drawn for all processes, so that the share of each has the same noise with any.
            total = len(latent) * parallel.world_size()
            noise = torch.randn((total, *latent.shape[1:]), generator=generator)
            noise = noise[parallel.own_rows(total)].to(latent)
            latent = latent + (posterior.logvar / 2).exp() * noise
        # Upstream adds it to an error summed over the image; here the error is a mean.
        share = posterior.kl().mean() / target[0].numel()
        rec = self.network.decode_latent(latent)
        terms["kl"] = self.method.kl_weight * share
        return Reconstruction(rec, latent, terms=terms, target=target)


def make(config: Mapping[str, Any], *, seed: int) -> TrainableMedVAE:
    """The network of a configuration's `model` and `method` (a `MedVAEMethod`), from scratch."""
    sizes = MedVAEConfig.from_mapping(config["model"])
    return TrainableMedVAE(sizes, read_method(config, MedVAEMethod), seed=seed)


def build(config: Mapping[str, Any], settings: TrainingSettings, work: Path) -> TokenizerRecipe:
    """The recipe of a stage; see `build_tokenizer_recipe`."""
    return build_tokenizer_recipe(make(config, seed=settings.seed), config, settings, work)
