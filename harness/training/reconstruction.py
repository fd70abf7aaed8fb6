"""Training any tokenizer to reconstruct, from scratch, on procedural images alone.

Three phases. First the network learns as a plain autoencoder. Then k-means on encoder outputs
gives every codebook its codes, and training goes on through the quantiser; codes that nobody
takes restart at current encoder outputs. The last steps see whole images instead of crops, so
that attention has met the benchmark's length. Each method brings its own losses of the latent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import UsageError
from .augment import Augmentation, CropSource
from .codebooks import CodebookKeeper
from .pool import PoolSpec, open_pool
from .recipe import StepLosses


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What a tokenizer gives for a batch in training.

    Attributes:
        images: (B, C, H, W) about [-1, 1], not clamped.
        vectors: what each book is asked for, (N, K, D); None where there are no books.
        indices: the codes that were taken, int64 (N, K); None where the pass left them out.
        terms: the method's own losses, weighted.
        target: what `images` are compared with, of the same shape; None for the batch itself. A
            network that sees brightness only has C = 1 here.
    """

    images: torch.Tensor
    vectors: torch.Tensor | None = None
    indices: torch.Tensor | None = None
    terms: Mapping[str, torch.Tensor] = field(default_factory=dict)
    target: torch.Tensor | None = None


class Trainable(Protocol):
    """A tokenizer's network with what its method adds in training."""

    @property
    def network(self) -> nn.Module:
        """What is trained, averaged and saved."""
        ...

    @property
    def spherical(self) -> bool:
        """Whether its codes matter by direction only."""
        ...

    def books(self) -> Sequence[torch.Tensor]:
        """Each book's codes (V, D); empty where the method has none."""
        ...

    def reconstruct(
        self, images: torch.Tensor, *, quantise: bool, generator: torch.Generator
    ) -> Reconstruction:
        """Images (B, 3, H, W) in [-1, 1] -> their reconstruction and the method's losses.

        Args:
            images: the batch.
            quantise: False passes the latent on as it is, while there are no codes yet.
            generator: for methods that draw at random.
        """
        ...

    def export(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The network's weights in upstream's keys and shapes."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What the method remembers from step to step beside the network's own state."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        ...


@dataclass(frozen=True, slots=True)
class ReconstructionPlan:
    """Data, phases and losses.

    Attributes:
        pools: where images come from.
        shares: how often each pool is drawn from.
        augmentation: what happens to a crop.
        crop: side of the crops, pixels.
        batch_size: crops per batch.
        whole_from: step from which whole images of side `whole` are seen, as many per batch as
            have the pixels of `batch_size` crops.
        whole: side of the whole images, pixels.
        quantise_from: step of the codebooks' initialisation.
        revive_until: step after which dead codes stay dead.
        revive_every: steps between revivals.
        l1, l2, log_l2, coarse, chroma, structure: weights of the reconstruction terms, on images
            in [-1, 1]: absolute and squared error; logarithm of an image's mean squared error
            (what PSNR is made of), the same of 8x8 block means, and of the block means' colour
            alone (an RGB error without its mean over the channels); SSIM.
        chroma_from: step from which the colour term counts.
    """

    pools: tuple[PoolSpec, ...]
    shares: tuple[float, ...]
    augmentation: Augmentation
    crop: int
    batch_size: int
    whole: int
    whole_from: int
    quantise_from: int
    revive_until: int
    revive_every: int
    l1: float
    l2: float
    log_l2: float
    coarse: float
    chroma: float
    structure: float
    chroma_from: int

    @classmethod
    def from_mapping(cls, terms: Mapping[str, Any]) -> ReconstructionPlan:
        """Read a plan from a configuration file; every field must be given.

        Raises:
            UsageError: a field is unknown, missing or of the wrong kind.
        """
        try:
            values = dict(terms)
            values["pools"] = tuple(PoolSpec(**spec) for spec in values["pools"])
            values["shares"] = tuple(values["shares"])
            augmentation = dict(values["augmentation"])
            augmentation["zoom"] = tuple(augmentation["zoom"])
            values["augmentation"] = Augmentation(**augmentation)
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            message = f"the training plan is incomplete or has an unknown field: {error}"
            raise UsageError(message) from error


_FLOOR = 5e-4
"""Squared error below which the logarithmic term no longer cares (39 dB)."""
_KMEANS_BATCHES = 32


class ReconstructionRecipe:
    """Trains a tokenizer to reconstruct.

    Args:
        trainable: the network and its method.
        plan: data, phases and losses.
        pool_folder: where the image pools are kept.
        seed: of the codebooks' initialisation.
        workers: processes that paint the pools, where they are not there yet.
    """

    def __init__(
        self,
        trainable: Trainable,
        plan: ReconstructionPlan,
        pool_folder: Path,
        *,
        seed: int,
        workers: int = 1,
    ) -> None:
        self.plan = plan
        self.seed = seed
        self.trainable = trainable
        self.model = trainable.network
        books = trainable.books()
        self.keeper = CodebookKeeper(books, spherical=trainable.spherical) if books else None
        pools = [open_pool(spec, pool_folder, workers=workers) for spec in plan.pools]
        self._source = CropSource(pools, plan.shares, plan.augmentation)

    def before_step(self, step: int) -> None:
        """Initialise the codebooks when their step has come."""
        if step == self.plan.quantise_from and self.keeper is not None:
            self._initialise_codebooks(self.keeper)

    def losses(self, step: int, generator: torch.Generator) -> StepLosses:
        """Reconstruct one batch."""
        images = self._images(step, generator)
        quantise = step >= self.plan.quantise_from
        found = self.trainable.reconstruct(images, quantise=quantise, generator=generator)
        target = images if found.target is None else found.target
        terms = reconstruction_terms(found.images, target, self.plan, step)
        squared = (found.images - target).detach().square().flatten(1).mean(dim=1)
        readings = {"psnr": -10 * (squared / 4 + 1e-8).log10().mean()}
        if self.keeper and found.indices is not None and found.vectors is not None:
            self.keeper.observe(found.vectors, found.indices)
            readings["live_codes"] = torch.tensor(self.keeper.live)
        return StepLosses({**terms, **found.terms}, readings, images=len(images))

    def after_step(self, step: int, generator: torch.Generator) -> None:
        """Revive dead codes from time to time."""
        plan = self.plan
        age = step - plan.quantise_from
        due = age > 0 and age % plan.revive_every == 0 and step < plan.revive_until
        if self.keeper is not None and due:
            self.keeper.revive(generator)

    def export(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights in upstream's keys and shapes."""
        return self.trainable.export(weights)

    def state_dict(self) -> dict[str, Any]:
        """The usage of the codebooks, and what the method remembers."""
        keeper = self.keeper.state_dict() if self.keeper is not None else {}
        return {"keeper": keeper, "method": self.trainable.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        if self.keeper is not None:
            self.keeper.load_state_dict(state["keeper"])
        self.trainable.load_state_dict(state["method"])

    def _images(self, step: int, generator: torch.Generator) -> torch.Tensor:
        """A batch in [-1, 1]."""
        plan = self.plan
        count, side = plan.batch_size, plan.crop
        if step >= plan.whole_from:
            count, side = max(count * plan.crop**2 // plan.whole**2, 1), plan.whole
        return self._source.batch(count, side, generator) * 2 - 1

    @torch.no_grad()
    def _initialise_codebooks(self, keeper: CodebookKeeper) -> None:
        """K-means over encoder outputs of some batches of their own."""
        generator = torch.Generator().manual_seed(self.seed)
        vectors = []
        for _ in range(_KMEANS_BATCHES):
            images = self._images(0, generator)
            found = self.trainable.reconstruct(images, quantise=False, generator=generator)
            if found.vectors is not None:
                vectors.append(found.vectors)
        keeper.initialise(torch.cat(vectors), generator)


def reconstruction_terms(
    rec: torch.Tensor, images: torch.Tensor, plan: ReconstructionPlan, step: int
) -> dict[str, torch.Tensor]:
    """The weighted terms that compare reconstructions with images, both (B, C, H, W)."""
    error = rec - images
    squared = error.square().flatten(1).mean(dim=1)
    blocks = F.avg_pool2d(error, 8).square().flatten(1).mean(dim=1)
    colour = error - error.mean(dim=1, keepdim=True)
    tints = F.avg_pool2d(colour, 8).square().flatten(1).mean(dim=1)
    chroma = plan.chroma if step >= plan.chroma_from else 0.0
    return {
        "l1": plan.l1 * error.abs().mean(),
        "l2": plan.l2 * squared.mean(),
        "log_l2": plan.log_l2 * (squared + _FLOOR).log().mean(),
        "coarse": plan.coarse * (blocks + _FLOOR / 5).log().mean(),
        "chroma": chroma * (tints + _FLOOR / 5).log().mean(),
        "structure": plan.structure * structure_loss(rec, images),
    }


def structure_loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """1 - SSIM with a uniform 8x8 window at stride 4, mean over three scales (Wang et al. 2004).

    Args:
        first: images (B, C, H, W) in about [-1, 1], H and W at least 32.
        second: the same shape.

    Uniform windows in steps cost a tenth of Gaussian ones at every pixel, and teach the same.
    """
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    losses = []
    for scale in range(3):
        if scale:
            first, second = F.avg_pool2d(first, 2), F.avg_pool2d(second, 2)
        maps = torch.cat([first, second, first.square() + second.square(), first * second], dim=1)
        mean1, mean2, power, product = F.avg_pool2d(maps, 8, 4).chunk(4, dim=1)
        squares = mean1.square() + mean2.square()
        crossed = mean1 * mean2
        brightness = (2 * crossed + c1) / (squares + c1)
        contrast = (2 * (product - crossed) + c2) / (power - squares + c2)
        losses.append(1 - (brightness * contrast).mean())
    return torch.stack(losses).mean()
