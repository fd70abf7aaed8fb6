"""How MedITok is trained to reconstruct: from scratch, on procedural images alone.

Three phases. First the network learns as a plain autoencoder whose latent chunks lie on the unit
sphere. Then spherical k-means on encoder outputs gives every codebook its codes, and training
goes on through the quantiser; codes that nobody takes restart at current encoder outputs. The
last steps see whole images instead of crops, so that attention has met the benchmark's length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ..harness.errors import UsageError
from ..harness.training import parallel
from ..harness.training.augment import Augmentation, CropSource
from ..harness.training.pool import PoolSpec, open_pool
from ..harness.training.recipe import StepLosses
from ..harness.training.settings import TrainingSettings
from .initialisation import build_from_scratch
from .meditok_config import MedITokConfig
from .quantizer import nearest_code


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
_KMEANS_ROUNDS = 6
_DEAD_SHARE = 0.1
"""A code is dead when it takes less than this share of what an even spread would give it."""


class ReconstructionRecipe:
    """Trains a MedITok network to reconstruct.

    Args:
        config: the network's sizes.
        plan: data, phases and losses.
        pool_folder: where the image pools are kept.
        seed: of the starting weights and of the codebooks' initialisation.
        workers: processes that paint the pools, where they are not there yet.
    """

    def __init__(
        self,
        config: MedITokConfig,
        plan: ReconstructionPlan,
        pool_folder: Path,
        *,
        seed: int,
        workers: int = 1,
    ) -> None:
        self.plan = plan
        self.seed = seed
        self.model = build_from_scratch(config, seed=seed)
        pools = [open_pool(spec, pool_folder, workers=workers) for spec in plan.pools]
        self._source = CropSource(pools, plan.shares, plan.augmentation)
        self._recent: torch.Tensor | None = None

    def before_step(self, step: int) -> None:
        """Initialise the codebooks when their step has come."""
        if step == self.plan.quantise_from:
            self._initialise_codebooks()

    def losses(self, step: int, generator: torch.Generator) -> StepLosses:
        """Reconstruct one batch."""
        images = self._images(step, generator)
        output = self.model(images, quantise=step >= self.plan.quantise_from)
        plan, error = self.plan, output.rec - images
        squared = error.square().flatten(1).mean(dim=1)
        blocks = F.avg_pool2d(error, 8).square().flatten(1).mean(dim=1)
        colour = error - error.mean(dim=1, keepdim=True)
        tints = F.avg_pool2d(colour, 8).square().flatten(1).mean(dim=1)
        chroma = plan.chroma if step >= plan.chroma_from else 0.0
        terms = {
            "l1": plan.l1 * error.abs().mean(),
            "l2": plan.l2 * squared.mean(),
            "log_l2": plan.log_l2 * (squared + _FLOOR).log().mean(),
            "coarse": plan.coarse * (blocks + _FLOOR / 5).log().mean(),
            "chroma": chroma * (tints + _FLOOR / 5).log().mean(),
            "structure": plan.structure * structure_loss(output.rec, images),
        }
        readings = {"psnr": -10 * (squared.detach() / 4 + 1e-8).log10().mean()}
        if output.quantised is not None:
            terms["vq"] = output.quantised.vq_loss
            readings["batch_usage"] = output.quantised.usage
        self._recent = output.z.detach()
        return StepLosses(terms, readings, images=len(images))

    def after_step(self, step: int, generator: torch.Generator) -> None:
        """Revive dead codes from time to time."""
        plan = self.plan
        if step >= plan.quantise_from:
            self._share_usage()
        age = step - plan.quantise_from
        if age > 0 and age % plan.revive_every == 0 and step < plan.revive_until:
            self._revive(generator)

    def state_dict(self) -> dict[str, Any]:
        """The quantisers' batch counts (usage itself is a buffer of the model)."""
        return {"batches_seen": [book.batches_seen for book in self.model.quantizer.books]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for book, count in zip(self.model.quantizer.books, state["batches_seen"], strict=True):
            book.batches_seen = int(count)

    def _images(self, step: int, generator: torch.Generator) -> torch.Tensor:
        """A batch in [-1, 1]."""
        plan = self.plan
        count, side = plan.batch_size, plan.crop
        if step >= plan.whole_from:
            count, side = max(count * plan.crop**2 // plan.whole**2, 1), plan.whole
        return self._source.batch(count, side, generator) * 2 - 1

    @torch.no_grad()
    def _initialise_codebooks(self) -> None:
        """Spherical k-means of each book's chunks over some batches of their own."""
        generator = torch.Generator().manual_seed(self.seed)
        chunks = [
            self.model(self._images(0, generator), quantise=False).z.flatten(0, 1)
            for _ in range(_KMEANS_BATCHES)
        ]
        vectors = torch.cat(chunks)
        for k, book in enumerate(self.model.quantizer.books):
            size = book.codebook.num_embeddings
            centres = spherical_kmeans(vectors[:, k].contiguous(), size, generator)
            book.codebook.weight.copy_(centres)
        parallel.copy_from_first(self._codes())

    def _codes(self) -> list[torch.Tensor]:
        return [book.codebook.weight for book in self.model.quantizer.books]

    @torch.no_grad()
    def _share_usage(self) -> None:
        """Make the usage records of all processes their mean."""
        usages = [book.vocab_usage for book in self.model.quantizer.books]
        parallel.sum_over_processes(usages)
        for usage in usages:
            usage.div_(parallel.world_size())

    @torch.no_grad()
    def _revive(self, generator: torch.Generator) -> None:
        if self._recent is None:
            return
        for k, book in enumerate(self.model.quantizer.books):
            size = book.codebook.num_embeddings
            dead = (book.vocab_usage < _DEAD_SHARE / size).nonzero().flatten()
            chunks = self._recent[:, :, k].flatten(0, 1)
            dead = dead[: len(chunks)]
            picked = torch.randperm(len(chunks), generator=generator)[: len(dead)]
            book.codebook.weight[dead] = chunks[picked]
            # As if it had its even share, so that it is given time to find tokens.
            book.vocab_usage[dead] = 1 / size
        parallel.copy_from_first(self._codes())


def spherical_kmeans(vectors: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Unit centres of unit vectors.

    Args:
        vectors: (N, D), N at least 1; where N < `count`, vectors are repeated.
        count: number of centres.
        generator: chooses the first centres.

    Returns:
        (count, D). A centre that loses all its vectors stays where it was.
    """
    order = torch.randperm(len(vectors), generator=generator)
    repeats = -(-count // len(vectors))
    centres = vectors[order.repeat(repeats)[:count]].clone()
    for _ in range(_KMEANS_ROUNDS):
        nearest = nearest_code(vectors, centres)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        filled = sums.norm(dim=1) > 1e-6
        centres[filled] = F.normalize(sums[filled], dim=-1)
    return centres


def structure_loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """1 - SSIM with a uniform 8x8 window at stride 4, mean over three scales (Wang et al. 2004).

    Args:
        first: images (B, 3, H, W) in about [-1, 1], H and W at least 32.
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


def build(
    config: Mapping[str, Any], settings: TrainingSettings, work: Path
) -> ReconstructionRecipe:
    """The recipe of a preset.

    Args:
        config: `model` (upstream's terms) and `plan` (the fields of `ReconstructionPlan`).
        settings: of the run.
        work: folder for the image pools.
    """
    return ReconstructionRecipe(
        MedITokConfig.from_mapping(config["model"]),
        ReconstructionPlan.from_mapping(config["plan"]),
        work / "pools",
        seed=settings.seed,
        workers=max(settings.threads, 1),
    )
