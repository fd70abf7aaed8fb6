"""How Emu3's tokenizer is trained: as VQGAN, on images that stand still for a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..harness.training import parallel
from ..harness.training.settings import TrainingSettings
from ..harness.training.tokenizer_build import build_tokenizer_recipe
from ..harness.training.tokenizer_recipe import TokenizerRecipe
from ..harness.training.trainable import Reconstruction
from .emu3_config import Emu3Config
from .emu3_model import Emu3Model
from .recipe_base import (
    PlainMethod,
    PlainTrainable,
    code_vectors,
    first_code,
    from_scratch,
    read_method,
)

_LEAST_IMAGES = 4
"""In a batch whose own statistics are good enough for Emu3's batch norms."""


class TrainableEmu3(PlainTrainable[Emu3Model]):
    """Emu3's tokenizer from scratch: an image is a clip that stands still, frame 0 is compared.

    Its batch norms take the statistics of a batch of crops, and their running ones for batches of
    one or a few whole images, which would not be those of the data.

    Args:
        config: sizes.
        method: how it starts.
        seed: of the starting weights.
    """

    def __init__(self, config: Emu3Config, method: PlainMethod, *, seed: int) -> None:
        super().__init__(
            from_scratch(lambda: Emu3Model(config), method, seed=seed),
            first_code(method, config.trunk.z_channels, config.trunk.downsample),
        )
        self._norms = [m for m in self.network.modules() if isinstance(m, nn.BatchNorm3d)]

    @property
    def last_layer(self) -> Tensor:
        """The kernel that makes pixels."""
        return self.network.decoder.conv_out.weight

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
        indices = None
        if quantise:
            found = self.network.quantize(z)
            latent, terms = found.zq, {"vq": found.vq_loss}
            indices = found.indices.reshape(-1, 1)
        else:
            latent, terms = self.guided(z, images)
        rec = self.network.decode_latent(latent)[:, 0]
        self._share_statistics()
        return Reconstruction(rec, latent, code_vectors(z), indices, terms=terms)

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


def make(config: Mapping[str, Any], *, seed: int) -> TrainableEmu3:
    """The network of a configuration's `model` (upstream's terms), from scratch."""
    sizes = Emu3Config.from_mapping(config["model"])
    return TrainableEmu3(sizes, read_method(config, PlainMethod), seed=seed)


def build(config: Mapping[str, Any], settings: TrainingSettings, work: Path) -> TokenizerRecipe:
    """The recipe of a stage; see `build_tokenizer_recipe`."""
    return build_tokenizer_recipe(make(config, seed=settings.seed), config, settings, work)
