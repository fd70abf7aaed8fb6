"""How VQGAN is trained: one codebook by distance, with taming's loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..harness.errors import UsageError
from ..harness.training.settings import TrainingSettings
from ..harness.training.tokenizer_build import build_tokenizer_recipe
from ..harness.training.tokenizer_recipe import TokenizerRecipe
from ..harness.training.trainable import Reconstruction
from .recipe_base import (
    PlainMethod,
    PlainTrainable,
    code_vectors,
    first_code,
    from_scratch,
    read_method,
)
from .taming_config import VQGANConfig
from .taming_quantizer import VectorQuantizer
from .vqgan_model import VQGANModel


class TrainableVQGAN(PlainTrainable[VQGANModel]):
    """A VQGAN that starts from scratch.

    Args:
        config: sizes.
        method: how it starts.
        seed: of the starting weights.

    Raises:
        UsageError: the configuration is of a `GumbelVQ`, which has other losses.
    """

    def __init__(self, config: VQGANConfig, method: PlainMethod, *, seed: int) -> None:
        if config.gumbel:
            message = "a GumbelVQ cannot be trained here: leave out temperature_scheduler_config"
            raise UsageError(message)
        super().__init__(
            from_scratch(lambda: VQGANModel(config), method, seed=seed),
            first_code(method, config.embed_dim, config.trunk.downsample),
        )

    @property
    def last_layer(self) -> Tensor:
        """The kernel that makes pixels."""
        return self.network.decoder.conv_out.weight

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
            latent, terms = self.guided(z, images)
            rec = self.network.decode_latent(latent)
            return Reconstruction(rec, latent, code_vectors(z), terms=terms)
        found = _quantizer(self.network)(z)
        rec = self.network.decode_latent(found.zq)
        indices = found.indices.reshape(-1, 1)
        return Reconstruction(rec, found.zq, code_vectors(z), indices, terms={"vq": found.vq_loss})


def _quantizer(network: VQGANModel) -> VectorQuantizer:
    assert isinstance(network.quantize, VectorQuantizer)
    return network.quantize


def make(config: Mapping[str, Any], *, seed: int) -> TrainableVQGAN:
    """The network of a configuration's `model` (upstream's terms), from scratch."""
    sizes = VQGANConfig.from_mapping(config["model"])
    return TrainableVQGAN(sizes, read_method(config, PlainMethod), seed=seed)


def build(config: Mapping[str, Any], settings: TrainingSettings, work: Path) -> TokenizerRecipe:
    """The recipe of a stage; see `build_tokenizer_recipe`."""
    return build_tokenizer_recipe(make(config, seed=settings.seed), config, settings, work)
