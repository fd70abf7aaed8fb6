"""Alignment of a tokenizer's latents with a teacher: the semantic part of MedITok's two stages.

Stage 1 aligns with a frozen image tower, stage 2 with a text tower (Ma et al. 2025,
arXiv:2505.19225). The teacher's embedding passes a trained norm and projection, whose names are
those of upstream's trainer in both stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from . import parallel
from .losses import contrastive_loss, cosine_loss
from .teachers.build import build_teacher
from .teachers.protocol import Side, Teacher, TeacherTerms


@dataclass(frozen=True, slots=True)
class AlignmentTerms:
    """With what, on which side, and how.

    Attributes:
        teacher: whose embeddings are the targets.
        side: `vision` (stage 1) or `text` (stage 2).
        weight: of the loss: the paper's lambda.
        objective: `contrast`, the symmetric cross entropy among all images of a batch, or
            `cosine`, one minus the mean cosine.
        head: on the teacher's embedding: `linear` as upstream, or `mlp` with one hidden layer.
        image_head: `projection`, the network's own contrastive head, or `pooled-mlp`, a small
            network of this stage's own on the mean latent.
        head_steps: first steps in which the loss trains the heads only.
        shuffle_pairs: gives every image another image's target: the control in which the teacher
            says nothing about the image.
    """

    teacher: TeacherTerms
    side: Side
    weight: float
    objective: Literal["contrast", "cosine"] = "contrast"
    head: Literal["linear", "mlp"] = "linear"
    image_head: Literal["projection", "pooled-mlp"] = "projection"
    head_steps: int = 0
    shuffle_pairs: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.weight < 0 or self.head_steps < 0:
            message = f"weight and head_steps must be at least 0: {self.weight}, {self.head_steps}"
            raise UsageError(message)


class Alignment(nn.Module):
    """The heads on both sides, and the loss between them.

    The teacher is a part of this module, so that it moves with it; a checkpoint takes only
    `trained_parts`.

    Args:
        terms: what the configuration says.
        teacher: frozen here where `terms` say so.
        feature_dims: length of the features that `forward` gets.
        embedding_dims: of the space in which both sides meet. With `projection` the features
            are in it already.
        seed: of the heads' starting weights.

    Raises:
        UsageError: the sizes do not go together.
    """

    def __init__(
        self,
        terms: AlignmentTerms,
        teacher: Teacher,
        *,
        feature_dims: int,
        embedding_dims: int,
        seed: int,
    ) -> None:
        super().__init__()
        if not pools_latents(terms) and feature_dims != embedding_dims:
            message = f"the projection gives {feature_dims} values, not {embedding_dims}"
            raise UsageError(message)
        self.terms = terms
        self.teacher = teacher
        teacher.keep_only(terms.side)
        if terms.teacher.frozen:
            teacher.requires_grad_(False).eval()
        dims = teacher.vision_dims if terms.side == "vision" else teacher.text_dims
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.text_fc_norm = nn.LayerNorm(dims, eps=1e-6)
            self.text_projection = (
                nn.Linear(dims, embedding_dims)
                if terms.head == "linear"
                else _small_network(dims, embedding_dims)
            )
            self.image_head = (
                _small_network(feature_dims, embedding_dims) if pools_latents(terms) else None
            )
            self.text_projection.apply(_start)
            if self.image_head is not None:
                self.image_head.apply(_start)

    @property
    def pools_latents(self) -> bool:
        """Whether `forward` gets mean latents rather than the network's own embedding."""
        return self.image_head is not None

    def trained_parts(self) -> dict[str, nn.Module]:
        """What is trained and saved beside the tokenizer, by upstream's names."""
        parts: dict[str, nn.Module] = {
            "text_fc_norm": self.text_fc_norm,
            "text_projection": self.text_projection,
        }
        if self.image_head is not None:
            parts["image_head"] = self.image_head
        if not self.terms.teacher.frozen:
            name = "text_encoder" if self.terms.side == "text" else "vision_encoder"
            parts[name] = self.teacher.tower(self.terms.side)
        return parts

    def forward(
        self, features: Tensor, *, images: Tensor, texts: list[str], logit_scale: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss of this process's share of a batch; in float32 under autocast too.

        Args:
            features: (b, `feature_dims`).
            images: (b, 3, H, H) in [-1, 1]; what the `vision` side looks at.
            texts: b captions; what the `text` side reads. Images without one, on any process,
                are left out of the comparison.
            logit_scale: logarithm of what multiplies the cosines.

        Returns:
            The loss, whose mean over the processes is that of the whole batch, and readings:
            `retrieval`, the share of images to which their own target is the nearest of all.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.terms.teacher.frozen):
            targets = self._look(images, texts)
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            if self.image_head is not None:
                features = self.image_head(features)
            targets = self.text_projection(self.text_fc_norm(targets.float()))
            use = [self.terms.side == "vision" or bool(text) for text in texts]
            rows = parallel.gather_rows(torch.tensor(use, device=features.device).float()) > 0
            features = parallel.gather_rows(features)[rows]
            targets = parallel.gather_rows(targets)[rows]
            loss, found = self._compare(features, targets, logit_scale.float().exp())
        return self.terms.weight * loss, {"retrieval": found}

    def _look(self, images: Tensor, texts: list[str]) -> Tensor:
        """The teacher's embeddings of this process's images."""
        if self.terms.side == "vision":
            return self.teacher.embed_images(images)
        return self.teacher.embed_texts(texts)

    def _compare(self, features: Tensor, targets: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Unweighted loss, and the share of images that find their own target.

        Every process compares the images of all; the mean over the processes is the same value,
        and its gradient is that of one process with the whole batch.
        """
        if self.terms.shuffle_pairs:
            # The order of a batch is random: the next image is any other.
            targets = targets.roll(1, dims=0)
        if not len(targets) or (self.terms.shuffle_pairs and len(targets) == 1):
            return 0 * (features.sum() + targets.sum() + scale), scale.new_zeros(())
        found = retrieval(features, targets)
        if self.terms.objective == "cosine":
            return cosine_loss(features, targets), found
        return contrastive_loss(features, targets, scale), found


class Alignable(Protocol):
    """What a network says of itself so that its latents can be aligned."""

    @property
    def latent_dims(self) -> int:
        """Channels of the quantised latent."""
        ...

    @property
    def embedding_dims(self) -> int:
        """Length of `image_embedding`; 0 where the network has no contrastive head."""
        ...


def build_alignment(
    terms: AlignmentTerms, network: Alignable, work: Path, *, seed: int
) -> Alignment:
    """The alignment that a configuration asks for.

    Args:
        terms: what it says.
        network: the tokenizer's.
        work: the stage's folder; earlier stages of the run lie beside it.
        seed: of the heads' starting weights.

    Raises:
        UsageError: the network has no contrastive head, or there is no such teacher.
        MissingPrerequisite: the teacher's weights are not on this machine.
    """
    require_head(network)
    return alignment_with(build_teacher(terms.teacher, work.parent), terms, network, seed=seed)


def require_head(network: object) -> None:
    """Refuse a network that cannot be aligned.

    Raises:
        UsageError: it has no contrastive head.
    """
    dims = getattr(network, "embedding_dims", None)
    if dims is None:
        message = "this network has no contrastive head to align: leave out `alignment`"
        raise UsageError(message)
    if not dims:
        message = "this network has no contrastive head to align: set drop_alignment to false"
        raise UsageError(message)


def alignment_with(
    teacher: Teacher, terms: AlignmentTerms, network: Alignable, *, seed: int
) -> Alignment:
    """The heads between a network and a teacher."""
    return Alignment(
        terms,
        teacher,
        feature_dims=network.latent_dims if pools_latents(terms) else network.embedding_dims,
        embedding_dims=network.embedding_dims,
        seed=seed,
    )


@torch.no_grad()
def retrieval(features: Tensor, targets: Tensor) -> Tensor:
    """Share of the rows of `features` whose own row of `targets` is the nearest by cosine."""
    cosines = F.normalize(features, dim=1) @ F.normalize(targets, dim=1).T
    own = torch.arange(len(cosines), device=cosines.device)
    return (cosines.argmax(dim=1) == own).float().mean()


def pools_latents(terms: AlignmentTerms) -> bool:
    """Whether the image side starts from the mean latent."""
    return terms.image_head == "pooled-mlp"


def _small_network(width: int, out: int) -> nn.Sequential:
    """One hidden layer; what comes in is brought to a common scale first."""
    hidden = 2 * out
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out)
    )


def _start(layer: nn.Module) -> None:
    """Starting weights as those of the network's own head."""
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5)
        nn.init.zeros_(layer.bias)
