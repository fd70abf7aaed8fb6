"""How MedITok is trained: its quantiser's loss, and the discriminator of its trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..harness.training import parallel
from ..harness.training.config_terms import read_fields
from ..harness.training.settings import TrainingSettings
from ..harness.training.tokenizer_build import build_tokenizer_recipe
from ..harness.training.tokenizer_recipe import TokenizerRecipe
from ..harness.training.trainable import Reconstruction
from . import dino_discriminator
from .initialisation import Start, build_from_scratch
from .meditok_config import DOWNSAMPLE, MedITokConfig
from .transform_code import TransformCode

DISCRIMINATORS = {"dino": dino_discriminator.KIND}
"""Kinds beside `patch` that `adversarial.kind` may name."""


class TrainableMedITok:
    """A MedITok or UniTok network that starts from scratch.

    Args:
        config: sizes.
        seed: of the starting weights.
        causal: whether the projections are masked.
        start: of which kind the starting weights are.
        first_code: what the encoder learns to give, and the decoder to invert, while there are no
            codebooks yet; None: the network finds a code by itself.
    """

    spherical = True

    def __init__(
        self,
        config: MedITokConfig,
        *,
        seed: int,
        causal: bool = True,
        start: Start = "upstream",
        first_code: TransformCode | None = None,
    ) -> None:
        self.network = build_from_scratch(config, seed=seed, causal=causal, start=start)
        self.first_code = first_code

    @property
    def last_layer(self) -> torch.Tensor:
        """The kernel that makes pixels."""
        return self.network.decoder.up_conv4.conv2.weight

    def books(self) -> Sequence[torch.Tensor]:
        """The K books' raw codes."""
        return [book.codebook.weight for book in self.network.quantizer.books]

    def codes_placed(self) -> None:
        """Nothing follows from the codes."""

    def reconstruct(
        self, images: torch.Tensor, *, quantise: bool, generator: torch.Generator
    ) -> Reconstruction:
        """One pass; the method's losses are those of its quantiser."""
        del generator  # nothing is drawn
        if self.first_code is not None and not quantise and self.network.training:
            return self._learn_first_code(self.first_code, images)
        output = self.network(images, quantise=quantise)
        vectors = output.z.detach().flatten(0, 1)
        grid = (images.shape[-2] // DOWNSAMPLE, images.shape[-1] // DOWNSAMPLE)
        latents = output.latent.transpose(1, 2).unflatten(2, grid)
        found = output.quantised
        if found is None:
            return Reconstruction(output.rec, latents, vectors, tokens=output.post_tokens)
        if self.network.training:
            self._share_usage()
        indices = found.indices.transpose(1, 2).flatten(0, 1)
        terms = {"vq": found.vq_loss}
        if self.network.config.le > 0:
            terms["entropy"] = self.network.config.le * found.entropy_loss
        return Reconstruction(output.rec, latents, vectors, indices, output.post_tokens, terms)

    def _learn_first_code(self, code: TransformCode, images: torch.Tensor) -> Reconstruction:
        wanted = code.to(images.device)(images)
        network = self.network
        vectors = network.quantizer.chunks(network.encode_latent(images))
        grid = (images.shape[-2] // DOWNSAMPLE, images.shape[-1] // DOWNSAMPLE)
        rec = network.decode_latent(wanted.flatten(2), grid).float()
        terms = {"first_code": (vectors - wanted).square().sum(dim=-1).mean()}
        latents = wanted.flatten(2).transpose(1, 2).unflatten(2, grid)
        tokens = network.post_quant_proj(vectors.flatten(2))
        return Reconstruction(rec, latents, vectors.detach().flatten(0, 1), None, tokens, terms)

    def export(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As they are: the keys are upstream's."""
        return dict(weights)

    def state_dict(self) -> dict[str, Any]:
        """The quantisers' batch counts (their usage itself is a buffer of the network)."""
        return {"batches_seen": [book.batches_seen for book in self.network.quantizer.books]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for book, count in zip(self.network.quantizer.books, state["batches_seen"], strict=True):
            book.batches_seen = int(count)

    @torch.no_grad()
    def _share_usage(self) -> None:
        """Make the usage records of all processes their mean."""
        usages = [book.vocab_usage for book in self.network.quantizer.books]
        parallel.sum_over_processes(usages)
        for usage in usages:
            usage.div_(parallel.world_size())


@dataclass(frozen=True, slots=True)
class MedITokMethod:
    """What a configuration says under `method`."""

    start: Start = "upstream"
    """The kind of the starting weights; see `initialisation`."""
    transform_code: bool = False
    """Whether the network learns a transform code before it has codebooks; `transform_code`."""


def make(config: Mapping[str, Any], *, seed: int, causal: bool = True) -> TrainableMedITok:
    """The network of a configuration's `model` (upstream's terms), from scratch."""
    method = read_fields(MedITokMethod, config.get("method", {}), "method")
    sizes = MedITokConfig.from_mapping(config["model"])
    code = None
    if method.transform_code:
        code = TransformCode(sizes.num_codebooks, sizes.code_width)
    return TrainableMedITok(sizes, seed=seed, causal=causal, start=method.start, first_code=code)


def build(config: Mapping[str, Any], settings: TrainingSettings, work: Path) -> TokenizerRecipe:
    """The recipe of a stage; see `build_tokenizer_recipe`."""
    trainable = make(config, seed=settings.seed)
    return build_tokenizer_recipe(trainable, config, settings, work, discriminators=DISCRIMINATORS)
