"""How TokenFlow is trained: a residual scale after scale, two decoders, and a semantic teacher.

On a crop the scales shrink with the grid, so that each still has cells of the same pixels and the
latent is a sum of as many codes as that of a whole image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..harness.errors import UsageError
from ..harness.training.settings import TrainingSettings
from ..harness.training.teachers.build import MINIATURE
from ..harness.training.teachers.protocol import TeacherTerms
from ..harness.training.tokenizer_build import build_tokenizer_recipe
from ..harness.training.tokenizer_recipe import TokenizerRecipe
from ..harness.training.trainable import Reconstruction
from .recipe_base import PlainMethod, PlainTrainable, first_code, from_scratch, read_method
from .semantic_teacher import SemanticTeacher, find_teacher
from .tokenflow_config import PATCH, TokenFlowConfig
from .tokenflow_model import TokenFlowModel
from .tokenflow_quantizer import SharedQuantizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFlowMethod(PlainMethod):
    """The method's own terms."""

    teacher: TeacherTerms
    """Whose features are distilled; see `semantic_teacher.find_teacher`."""
    semantic_weight: float
    """Of 1 minus the cosine between the decoded and the teacher's features."""
    scale_drop: float
    """Share of the batches that leave out one scale, not the first (upstream: 0.1)."""


@dataclass(frozen=True, slots=True)
class ScalePass:
    """What one pass over the scales gives in training."""

    zq: Tensor
    """Sum of the scales (B, D, g, g); gradients pass straight to each scale's vectors."""
    vectors: Tensor
    """What codes were asked for, of unit length (N, 1, D): image after image, at all scales."""
    indices: Tensor | None
    """int64 (N, 1); None without quantisation."""
    terms: Mapping[str, Tensor]
    """The quantiser's losses, means over the scales."""


class TrainableTokenFlow(PlainTrainable[TokenFlowModel]):
    """A TokenFlow network that starts from scratch.

    Args:
        config: sizes.
        method: its own terms.
        seed: of the starting weights.
        teacher: whose features are distilled; None where the network is only looked at.

    Raises:
        UsageError: the teacher's features are not as many as the semantic decoder gives.
    """

    spherical = True

    def __init__(
        self,
        config: TokenFlowConfig,
        method: TokenFlowMethod,
        *,
        seed: int,
        teacher: SemanticTeacher | None = None,
    ) -> None:
        super().__init__(
            from_scratch(lambda: _starting_network(config), method, seed=seed),
            first_code(method, config.codebook_embed_dim, PATCH),
        )
        self.method = method
        self.teacher = teacher
        if teacher is not None and teacher.dims != config.sizes.out:
            message = (
                f"the teacher {method.teacher.name} gives {teacher.dims} features per cell, the "
                f"semantic decoder {config.sizes.out}: make `out` under `sizes` the same number"
            )
            raise UsageError(message)
        self._book = _join_halves(self.network.quantize)

    @property
    def last_layer(self) -> Tensor:
        """The kernel that makes pixels."""
        return self.network.decoder.conv_out.weight

    def books(self) -> Sequence[Tensor]:
        """One book: both halves of each code side by side (V, S + P)."""
        if self.network.quantize.embedding_vqkd.weight.data_ptr() != self._book.data_ptr():
            self._book = _join_halves(self.network.quantize)  # the network went to another device
        return [self._book]

    def reconstruct(
        self, images: Tensor, *, quantise: bool, generator: torch.Generator
    ) -> Reconstruction:
        """One pass; the losses are those of the quantiser and of the distillation."""
        net = self.network
        z = net.encode_latent(images)
        scales = self._scales(z.shape[-1], generator)
        guidance: dict[str, Tensor] = {}
        if not quantise:
            semantic, pixel = z.split(net.quantize.split, dim=1)
            pixel, guidance = self.guided(pixel, images)
            z = torch.cat([semantic, pixel], dim=1)
        found = pass_scales(net.quantize, z, scales, quantise=quantise)
        if self.teacher is None:
            message = "TokenFlow cannot be trained without the teacher of its semantic half"
            raise UsageError(message)
        wanted = self.teacher(images)
        cosine = F.cosine_similarity(net.decode_semantics(found.zq), wanted, dim=-1)
        terms = {
            **guidance,
            **found.terms,
            "semantic": self.method.semantic_weight * (1 - cosine.mean()),
        }
        return Reconstruction(
            net.decode_image(found.zq), found.zq, found.vectors, found.indices, terms=terms
        )

    def _scales(self, grid: int, generator: torch.Generator) -> tuple[int, ...]:
        scales = shrunk_scales(self.network.config.scales, grid)
        draw = torch.rand(2, generator=generator)
        if not self.network.training or len(scales) == 1 or draw[0] >= self.method.scale_drop:
            return scales
        dropped = 1 + int(draw[1] * (len(scales) - 1))
        return scales[:dropped] + scales[dropped + 1 :]


def shrunk_scales(scales: Sequence[int], grid: int) -> tuple[int, ...]:
    """Scales for another grid: each its share of the grid's side, at least one cell."""
    return tuple(max(1, round(scale * grid / scales[-1])) for scale in scales)


def pass_scales(
    quantizer: SharedQuantizer, z: Tensor, scales: Sequence[int], *, quantise: bool
) -> ScalePass:
    """Quantise what earlier scales have left, scale after scale, with losses and gradients.

    Args:
        quantizer: of one scale.
        z: latent (B, D, g, g).
        scales: cells along one side.
        quantise: False takes each vector itself, on the unit sphere, for its code.
    """
    grid = z.shape[-1]
    residual, zq = z, torch.zeros_like(z)
    vectors, indices, losses = [], [], []
    for scale in scales:
        reduced = F.interpolate(residual, size=(scale, scale), mode="area")
        units = quantizer.unit_vectors(reduced)
        vectors.append(units.detach().unflatten(0, (len(z), -1)))
        if quantise:
            found = quantizer(reduced)
            cells = found.zq
            indices.append(found.indices.reshape(len(z), -1))
            losses.append(torch.stack([found.vq_loss, found.commit_loss, found.entropy_loss]))
        else:
            cells = units.unflatten(0, (len(z), scale, scale)).movedim(-1, 1)
        step = F.interpolate(cells, size=(grid, grid), mode="bicubic")
        zq = zq + step
        residual = residual - step.detach()
    # Both halves are of length 1.
    rows = torch.cat(vectors, dim=1).flatten(0, 1).unsqueeze(1) / math.sqrt(2)
    if not quantise:
        return ScalePass(zq, rows, None, {})
    vq, commit, entropy = torch.stack(losses).mean(dim=0)
    terms = {"vq": vq, "commit": commit, "entropy": entropy}
    return ScalePass(zq, rows, torch.cat(indices, dim=1).reshape(-1, 1), terms)


def _join_halves(quantizer: SharedQuantizer) -> Tensor:
    """Lay both halves of the codes side by side in one memory, and return it (V, S + P)."""
    halves = (quantizer.embedding_vqkd, quantizer.embedding_vqgan)
    book = torch.cat([half.weight.detach() for half in halves], dim=1)
    for half, part in zip(halves, book.split(quantizer.split, dim=1), strict=True):
        half.weight.data = part
    return book


def _starting_network(config: TokenFlowConfig) -> TokenFlowModel:
    """torch's own starting weights; those of CLIP and BEiT where torch has none."""
    model = TokenFlowModel(config)
    width = config.sizes.dim
    nn.init.normal_(model.encoder_vqkd.class_embedding, std=width**-0.5)
    nn.init.normal_(model.encoder_vqkd.positional_embedding, std=width**-0.5)
    nn.init.trunc_normal_(model.decoder_vqkd.cls_token, std=0.02)
    nn.init.trunc_normal_(model.decoder_vqkd.pos_embed, std=0.02)
    return model


def method_teacher(config: Mapping[str, Any]) -> TeacherTerms | None:
    """The teacher that must have been trained before; None where it is a random network."""
    teacher = read_method(config, TokenFlowMethod).teacher
    return teacher if teacher.name == MINIATURE else None


def make(
    config: Mapping[str, Any], *, seed: int, teacher: SemanticTeacher | None = None
) -> TrainableTokenFlow:
    """The network of a configuration's `model` and `method` (a `TokenFlowMethod`), from scratch."""
    sizes = TokenFlowConfig.from_mapping(config["model"])
    method = read_method(config, TokenFlowMethod)
    return TrainableTokenFlow(sizes, method, seed=seed, teacher=teacher)


def build(config: Mapping[str, Any], settings: TrainingSettings, work: Path) -> TokenizerRecipe:
    """The recipe of a stage; see `build_tokenizer_recipe`."""
    teacher = find_teacher(read_method(config, TokenFlowMethod).teacher, work.parent)
    trainable = make(config, seed=settings.seed, teacher=teacher)
    return build_tokenizer_recipe(trainable, config, settings, work)
