"""Training any tokenizer: reconstruction, its method's own losses, and what a stage adds to them.

From scratch the network first learns as a plain autoencoder; then k-means on encoder outputs gives
every codebook its codes, training goes on through the quantiser, and codes that nobody takes
restart at current encoder outputs. The last steps may see whole images instead of crops, so that
attention has met the benchmark's length. A stage may add a perceptual distance, a discriminator,
and the alignment of the latents with a teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from . import parallel
from .adversarial import AdversarialGame
from .alignment import Alignment
from .codebooks import CodebookKeeper
from .feed import Batch, Feed
from .pixel_terms import pixel_terms
from .recipe import Recipe, StepLosses, Validation
from .sources.source import ImageSource
from .tokenizer_terms import TokenizerTerms
from .trainable import Reconstruction, Trainable
from .validation import TokenizerValidation

_APART = 1 << 40
"""Position of the images that initialise codebooks: no step of training comes so far."""
_LARGEST_LOGIT_SCALE = 4.6052
"""ln 100: the contrastive temperature is kept above 0.01 (Radford et al. 2021)."""


class Trained(nn.Module):
    """The tokenizer's network as `core`, and the parts that are trained beside it."""

    def __init__(self, core: nn.Module, alignment: Alignment | None) -> None:
        super().__init__()
        self.core = core
        for name, part in alignment.trained_parts().items() if alignment is not None else ():
            self.add_module(name, part)


class TokenizerRecipe(Recipe):
    """Trains a tokenizer.

    Args:
        trainable: the network and its method.
        terms: what the configuration says.
        source: where images come from.
        seed: of the codebooks' initialisation.
        workers: processes that prepare batches.
        parts_per_step: batches per step.

    Raises:
        UsageError: the processes cannot share a batch evenly.
    """

    def __init__(
        self,
        trainable: Trainable,
        terms: TokenizerTerms,
        source: ImageSource,
        *,
        seed: int,
        workers: int = 0,
        parts_per_step: int = 1,
    ) -> None:
        for step in (0, terms.data.whole_from or 0):
            parallel.own_rows(terms.data.at(step)[0])  # told now, and not when its step has come
        self.terms = terms
        self.seed = seed
        self.trainable = trainable
        self.perceptual: nn.Module | None = None
        self.game: AdversarialGame | None = None
        self.alignment: Alignment | None = None
        self.validation: TokenizerValidation | None = None
        self.model = Trained(trainable.network, None)
        books = trainable.books()
        self.keeper = CodebookKeeper(books, spherical=trainable.spherical) if books else None
        self.fingerprint = source.fingerprint
        self._source = source
        self._feed = Feed(source, terms.data.at, parts_per_step, workers=workers)
        self._latest: tuple[Tensor, Tensor] | None = None

    def play(self, game: AdversarialGame) -> None:
        """Add a discriminator."""
        self.game, self.opponent = game, game.discriminator

    def align(self, alignment: Alignment) -> None:
        """Add the alignment with a teacher."""
        self.alignment = alignment
        self.model = Trained(self.trainable.network, alignment)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.trainable.last_layer.device

    def place(self, device: torch.device) -> None:
        """Move the frozen judges and teachers."""
        if self.perceptual is not None:
            self.perceptual.to(device)
        if self.alignment is not None:
            self.alignment.to(device)

    def batches(self, first_step: int) -> Iterator[Batch]:
        """This process's shares of the batches."""
        return self._feed.batches(first_step)

    def before_step(self, step: int) -> None:
        """Initialise the codebooks when their step has come."""
        books = self.terms.codebooks
        if self.keeper is not None and books.kmeans_batches and step == books.quantise_from:
            with self._taken_over():
                self._initialise_codebooks(self.keeper, books.kmeans_batches)

    def losses(self, step: int, batch: Batch, generator: torch.Generator) -> StepLosses:
        """Reconstruct one batch."""
        images = _to_network(batch.images, self.device)
        quantise = step >= self.terms.codebooks.quantise_from
        found = self.trainable.reconstruct(images, quantise=quantise, generator=generator)
        rec, target = found.images, images if found.target is None else found.target
        terms = pixel_terms(rec, target, self.terms.pixels, step)
        colour = (len(images), 3, *rec.shape[2:])
        if self.perceptual is not None and self.terms.perceptual is not None:
            distance = self.perceptual(rec.expand(colour), target.expand(colour))
            terms["perceptual"] = self.terms.perceptual.weight * distance
        readings = _readings(rec, target)
        if self.game is not None:
            likeness = torch.stack(list(terms.values())).sum()
            term, told = self.game.generator_term(
                rec.expand(colour),
                likeness,
                self.trainable.last_layer,
                step=step,
                generator=generator,
            )
            terms["adversarial"] = term
            readings.update(told)
            self._latest = (target.expand(colour), rec.detach().expand(colour))
        terms.update(found.terms)
        if self.alignment is not None:
            term, told = self._align(self.alignment, found, images, batch, step)
            terms["alignment"] = term
            readings.update(told)
        if self.keeper and found.indices is not None and found.vectors is not None:
            self.keeper.observe(found.vectors, found.indices)
            readings["live_codes"] = torch.tensor(self.keeper.live)
            readings["waiting_codes"] = torch.tensor(self.keeper.waiting)
        return StepLosses(terms, readings, images=len(images))

    def opponent_terms(self, step: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        """The discriminator's terms on the batch that was just reconstructed."""
        if self.game is None or self._latest is None:
            return {}
        real, rec = self._latest
        self._latest = None
        return self.game.discriminator_terms(real, rec, step=step, generator=generator)

    def after_step(self, step: int, generator: torch.Generator) -> None:
        """Revive dead codes from time to time; keep the contrastive temperature in its range."""
        books = self.terms.codebooks
        age = step - books.quantise_from
        due = age > 0 and age % books.revive_every == 0 and step < books.revive_until
        if self.keeper is not None and due:
            with self._taken_over():
                self.keeper.revive(generator)
        scale = getattr(self.trainable.network, "logit_scale", None)
        if self.alignment is not None and scale is not None:
            with torch.no_grad():
                scale.clamp_(0, _LARGEST_LOGIT_SCALE)

    def validate(self, step: int) -> Validation:
        """Held-out images, where the configuration names some."""
        if self.validation is None:
            return Validation({})
        quantise = step > self.terms.codebooks.quantise_from
        return self.validation.look(self.trainable, quantise=quantise)

    def export(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's weights in upstream's keys and shapes."""
        core = {k.removeprefix("core."): v for k, v in weights.items() if k.startswith("core.")}
        return self.trainable.export(core)

    def state_dict(self) -> dict[str, Any]:
        """The usage of the codebooks, and what the method remembers."""
        keeper = self.keeper.state_dict() if self.keeper is not None else {}
        return {"keeper": keeper, "method": self.trainable.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        if self.keeper is not None:
            self.keeper.load_state_dict(state["keeper"])
        self.trainable.load_state_dict(state["method"])

    def _taken_over(self) -> AbstractContextManager[None]:
        average = self.average
        return nullcontext() if average is None else average.taking_over(self.model)

    def _align(
        self, alignment: Alignment, found: Reconstruction, images: Tensor, batch: Batch, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        scale = getattr(self.trainable.network, "logit_scale", None)
        if scale is None or found.tokens is None:
            message = "this network has no contrastive head to align with a teacher"
            raise UsageError(message)
        latents, tokens = found.latents, found.tokens
        if step < alignment.terms.head_steps:
            latents, tokens = latents.detach(), tokens.detach()
        if alignment.pools_latents:
            features = latents.flatten(2).mean(dim=2)
        else:
            features = self.trainable.network.image_embedding(tokens)  # pyright: ignore[reportCallIssue]
        return alignment(features, images=images, texts=batch.texts, logit_scale=scale)

    @torch.no_grad()
    def _initialise_codebooks(self, keeper: CodebookKeeper, batches: int) -> None:
        """K-means over encoder outputs of some images of their own, shared like any batch."""
        generator = torch.Generator().manual_seed(self.seed)
        count, side = self.terms.data.at(0)
        vectors = []
        for number in range(batches):
            first = _APART + number * count
            rows = range(first, first + count)[parallel.own_rows(count)]
            drawn = [self._source.sample(p, side).image for p in rows]
            images = _to_network(torch.stack(drawn), self.device)
            found = self.trainable.reconstruct(images, quantise=False, generator=generator)
            if found.vectors is not None:
                vectors.append(parallel.gather_rows(found.vectors))
        keeper.initialise(torch.cat(vectors), generator)
        self.trainable.codes_placed()
        parallel.wait_for_all()


def _to_network(images: Tensor, device: torch.device) -> Tensor:
    """[0, 1] -> [-1, 1], on the device."""
    return images.to(device, non_blocking=True) * 2 - 1


def _readings(rec: Tensor, target: Tensor) -> dict[str, Tensor]:
    squared = (rec - target).detach().square().flatten(1).mean(dim=1)
    return {"psnr": -10 * (squared / 4 + 1e-8).log10().mean()}
