"""How PUMIT is trained: a mixture of embeddings, spread over all of them and sharp in each cell.

The network is trained on images, so as the two-dimensional one that its volume kernels collapse
to; what is exported has the volume's keys and shapes, with each kernel in one place of its depth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..harness.training import parallel
from ..harness.training.settings import TrainingSettings
from ..harness.training.tokenizer_build import build_tokenizer_recipe
from ..harness.training.tokenizer_recipe import TokenizerRecipe
from ..harness.training.trainable import Reconstruction
from ..tokenizers.transform_code import PatchTransform
from .pumit_config import PUMITConfig
from .pumit_model import PUMITModel
from .recipe_base import PlainMethod, PlainTrainable, code_vectors, from_scratch, read_method

_FLOOR = 1e-7
"""Added to mean probabilities before their logarithm."""
_NEIGHBOUR = 0.05
"""Weight of the nearest other embedding at an embedding's own place, in the first mixtures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PUMITMethod(PlainMethod):
    """Weights of the method's own losses, under upstream's names."""

    quant_weight: float
    """Of the negative entropy of the batch's mean probabilities: all embeddings are to be used."""
    entropy_weight: float
    """Of the mean entropy of a cell's probabilities: each cell is to decide."""


class BothSigns(nn.Module):
    """The transform code for an encoder whose output is rectified: positive and negative parts.

    Args:
        config: sizes.
    """

    def __init__(self, config: PUMITConfig) -> None:
        super().__init__()
        self.width = config.embedding_dim
        self.transform = PatchTransform(-(-self.width // 2), config.downsample)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> (B, D, h, w), none negative."""
        coefficients = self.transform(images)
        return torch.cat([coefficients.relu(), (-coefficients).relu()], dim=1)[:, : self.width]


class TrainablePUMIT(PlainTrainable[PUMITModel]):
    """A PUMIT tokenizer that starts from scratch.

    Its embeddings are chosen by a learned projection and not by distance. The projection starts as
    the distance to the embeddings that k-means found; none is revived later, as none can die.

    Args:
        config: sizes.
        method: weights of its losses.
        seed: of the starting weights.
    """

    def __init__(self, config: PUMITConfig, method: PUMITMethod, *, seed: int) -> None:
        super().__init__(
            from_scratch(lambda: PUMITModel(config), method, seed=seed, before_norms=_convolutions),
            BothSigns(config) if method.transform_code else None,
        )
        self.method = method

    @property
    def last_layer(self) -> Tensor:
        """The kernel that makes pixels."""
        last: Any = self.network.decoder[-1]
        return last.weight

    def books(self) -> Sequence[Tensor]:
        """The embeddings (V, D)."""
        return [self.network.quantize.embedding.weight]

    def reconstruct(
        self, images: Tensor, *, quantise: bool, generator: torch.Generator
    ) -> Reconstruction:
        """One pass through the mixture; the losses are those of its probabilities."""
        del generator  # nothing is drawn
        z = self.network.encoder(images)
        if not quantise:
            latent, terms = self.guided(z, images)
            rec = self.network.decoder(latent)
            return Reconstruction(rec, latent, code_vectors(z), terms=terms)
        log_shares = self.network.quantize.logits(z).log_softmax(dim=-1)
        shares = log_shares.exp()
        mixture = self.network.quantize.mixed(shares)
        rec = self.network.decoder(mixture)
        mean = shares.flatten(0, 2).mean(dim=0)
        if self.network.training:  # of the whole batch; validation runs in one process alone
            mean = parallel.gather_rows(mean.unsqueeze(0)).mean(dim=0)
        spread = (mean * (mean + _FLOOR).log()).sum()
        doubt = -(shares * log_shares).sum(dim=-1).mean()
        terms = {
            "spread": self.method.quant_weight * spread,
            "doubt": self.method.entropy_weight * doubt,
        }
        return Reconstruction(rec, mixture, terms=terms)

    @torch.no_grad()
    def codes_placed(self) -> None:
        """Make the projection's shares those of a Gaussian around each embedding."""
        book = self.network.quantize.embedding.weight
        apart = torch.cdist(book, book).fill_diagonal_(torch.inf).amin(dim=1).square().mean()
        sharpness = -2 * math.log(_NEIGHBOUR) / apart.clamp(min=1e-6)
        self.network.quantize.proj.weight.copy_(sharpness * book)
        self.network.quantize.proj.bias.copy_(-sharpness / 2 * book.square().sum(dim=1))

    def export(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Volume kernels that collapse to the trained ones."""
        return {k: _with_depth(v) if v.ndim == 4 else v for k, v in weights.items()}


def _convolutions(model: PUMITModel) -> list[nn.Module]:
    return [part for part in model.modules() if isinstance(part, nn.Conv2d)]


def _with_depth(kernel: Tensor) -> Tensor:
    """(C, D, n, n) -> (C, D, n, n, n): the kernel in the middle of a depth that is else zero."""
    size = kernel.shape[-1]
    volume = kernel.new_zeros(*kernel.shape[:2], size, size, size)
    volume[:, :, size // 2] = kernel
    return volume


def make(config: Mapping[str, Any], *, seed: int) -> TrainablePUMIT:
    """The network of a configuration's `model` and `method` (a `PUMITMethod`), from scratch."""
    sizes = PUMITConfig.from_mapping(config["model"])
    return TrainablePUMIT(sizes, read_method(config, PUMITMethod), seed=seed)


def build(config: Mapping[str, Any], settings: TrainingSettings, work: Path) -> TokenizerRecipe:
    """The recipe of a stage; see `build_tokenizer_recipe`."""
    return build_tokenizer_recipe(make(config, seed=settings.seed), config, settings, work)
