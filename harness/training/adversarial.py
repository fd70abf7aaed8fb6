"""The game between a tokenizer and a discriminator, by the rules of MedITok's trainer.

Source: Ma et al. 2025 (arXiv:2502.20321 and arXiv:2505.19225); the adaptive weight is that of
Esser et al. 2021 (arXiv:2012.09841, equation 7), the balanced consistency that of Zhao et al.
2021 (arXiv:2002.04724).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from . import parallel
from .config_terms import read_fields
from .diff_augment import Changes, blurred
from .losses import Adversarial, fake_loss, real_loss

DiscriminatorFactory = Callable[[Mapping[str, Any], int], nn.Module]
"""(options, seed) -> a discriminator: a module (images (b, 3, H, W) in [-1, 1], generator) ->
logits (b, n), whose trainable weights follow from the seed. What it draws, it draws from the
generator and for the whole batch alike."""


@dataclass(frozen=True, slots=True)
class DiscriminatorKind:
    """One kind of discriminator.

    Attributes:
        build: makes it.
        sketch: (options) -> the same with weights that mean nothing, for counting.
        find: (options) -> looks for the files that `build` reads; MissingPrerequisite where one
            is not on this machine.
    """

    build: DiscriminatorFactory
    sketch: Callable[[Mapping[str, Any]], nn.Module]
    find: Callable[[Mapping[str, Any]], object] = lambda _: None


_EPSILON = 1e-6
_SCALE = 1024.0
"""Multiplies gradients while they are computed: those of a mean over pixels vanish in fp16."""


@dataclass(frozen=True, slots=True)
class AdversarialTerms:
    """How the game is played.

    Attributes:
        kind: of the discriminator: a key of the factories that `build_game` is given.
        discriminator: its options, in that factory's terms.
        weight: of the generator's term.
        loss: of the discriminator; see `losses.real_loss`.
        adaptive: smallest and largest ratio of the reconstruction's gradient to the generator
            term's, by which `weight` is multiplied; None keeps `weight` as it is. Upstream's types:
            0 is (0, 1e4), 1 (its default) (0.015, 1e4), 2 (0.1, 10), 4 (0.015, 1.5).
        adaptive_root: whether the square root of the ratio is taken; with (0, 1e4), type 3.
        start_step: before it there is no game.
        warmup_steps: steps over which `weight` rises from 0; a blur of all that the discriminator
            sees fades over twice as many. Need not be a whole number.
        consistency: weight of the balanced consistency; 0 leaves it out.
        augment: probability of each of the augmentation's three changes.
    """

    kind: str
    discriminator: dict[str, Any] = field(default_factory=dict)
    weight: float = 0.4
    loss: Adversarial = "hinge"
    adaptive: tuple[float, float] | None = (0.015, 1e4)
    adaptive_root: bool = False
    start_step: int = 0
    warmup_steps: float = 0.0
    consistency: float = 4.0
    augment: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be played."""
        least = min(self.weight, self.start_step, self.warmup_steps, self.consistency)
        if least < 0 or not 0 <= self.augment <= 1:
            message = (
                "weight, start_step, warmup_steps and consistency of an adversarial loss must be "
                f"at least 0, augment a probability: {self}"
            )
            raise UsageError(message)
        if self.adaptive is not None and not 0 <= self.adaptive[0] <= self.adaptive[1]:
            message = f"adaptive must be a range from at least 0 up, not {self.adaptive}"
            raise UsageError(message)

    @classmethod
    def from_mapping(cls, terms: Mapping[str, Any]) -> AdversarialTerms:
        """Read them from a configuration.

        Raises:
            UsageError: a field is unknown, missing or of the wrong kind.
        """
        return read_fields(cls, terms, "adversarial")

    def strength(self, step: int) -> float:
        """Share of `weight` at a step: 0 until it starts, then rising to 1."""
        return 0.0 if step < self.start_step else _risen(step - self.start_step, self.warmup_steps)

    def fade(self, step: int) -> float:
        """What is left of the blur at a step: from 1 down to 0."""
        return 1 - _risen(max(step - self.start_step, 0), 2 * self.warmup_steps)


def _risen(steps: int, length: float) -> float:
    return min(1.0, steps / length) if length else 1.0


def build_game(
    terms: AdversarialTerms, factories: Mapping[str, DiscriminatorFactory], *, seed: int
) -> AdversarialGame:
    """The game with the discriminator that the terms ask for.

    Raises:
        UsageError: unknown kind, or options that the kind does not know.
        MissingPrerequisite: weights that the kind needs are not on this machine.
    """
    if terms.kind not in factories:
        raise unknown_discriminator(terms.kind, factories)
    return AdversarialGame(factories[terms.kind](terms.discriminator, seed), terms)


def unknown_discriminator(kind: str, known: Iterable[str]) -> UsageError:
    """The refusal of another kind."""
    return UsageError(f"unknown discriminator {kind!r}; known: {', '.join(sorted(known))}")


class AdversarialGame:
    """A discriminator and the terms of both sides.

    Both methods are asked on every process with its share of the batch, and with generators in
    the same state, on the CPU. Before the game starts, and at the first step of a warm-up, where
    `weight` is 0, there are no terms.

    Args:
        discriminator: see `DiscriminatorFactory`.
        terms: the rules.
    """

    def __init__(self, discriminator: nn.Module, terms: AdversarialTerms) -> None:
        self.discriminator = discriminator
        self.terms = terms

    def generator_term(
        self,
        rec: Tensor,
        reconstruction_loss: Tensor,
        last_layer: Tensor,
        *,
        step: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What the tokenizer pays for being found out, -mean D(augmented rec), weighted.

        The discriminator gets no gradient.

        Args:
            rec: float32 (b, 3, H, W), about [-1, 1], with gradient.
            reconstruction_loss: scalar that says how wrong `rec` is, with gradient.
            last_layer: the weight whose two gradients are compared.
            step: of the run.
            generator: of the batch.

        Returns:
            The term, and readings: `generator` unweighted, `adversarial_weight`.
        """
        strength = self.terms.strength(step)
        if strength == 0:
            return rec.new_zeros(()), {}
        seen = rec.detach().requires_grad_()
        loss, slope = self._loss_and_slope(seen, step, generator)
        weight = torch.as_tensor(self.terms.weight * strength, device=rec.device)
        if self.terms.adaptive is not None:
            weight = weight * self._ratio(rec, slope, reconstruction_loss, last_layer)
        # The slope is known: no second pass back through the discriminator.
        term = weight * (loss + (slope * (rec - rec.detach())).sum())
        return term, {"generator": loss, "adversarial_weight": weight}

    def discriminator_terms(
        self, real: Tensor, rec: Tensor, *, step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """What the discriminator pays.

        Args:
            real: images (b, 3, H, W) in [-1, 1].
            rec: their reconstructions; nothing flows back into them.
            step: of the run.
            generator: of the batch.

        Returns:
            `discriminator`: for calling one what is the other; `consistency`: for judging the same
            images differently without the blur and under another augmentation, weighted; empty
            where there is no game.
        """
        if self.terms.strength(step) == 0:
            return {}
        sides = (real.detach(), rec.detach())
        judged = [self._judge(side, generator, fade=self.terms.fade(step)) for side in sides]
        real_logits, rec_logits = judged
        kind = self.terms.loss
        found = {"discriminator": real_loss(real_logits, kind) + fake_loss(rec_logits, kind)}
        if self.terms.consistency:
            again = [self._judge(side, generator, probability=1.0) for side in sides]
            gaps = [F.mse_loss(*pair) for pair in zip(again, judged, strict=True)]
            found["consistency"] = self.terms.consistency * (gaps[0] + gaps[1])
        return found

    def _judge(
        self,
        images: Tensor,
        generator: torch.Generator,
        *,
        fade: float = 0.0,
        probability: float | None = None,
    ) -> Tensor:
        """Logits of images, blurred and augmented."""
        chance = self.terms.augment if probability is None else probability
        total = len(images) * parallel.world_size()
        changes = Changes.draw(total, generator, probability=chance).rows(parallel.own_rows(total))
        with torch.autocast(images.device.type, enabled=False):
            images = changes.apply(blurred(images.float(), fade))
        return self.discriminator(images, generator).float()

    def _loss_and_slope(
        self, seen: Tensor, step: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """-mean D of the reconstructions, and its gradient with respect to them."""
        trained = [each for each in self.discriminator.parameters() if each.requires_grad]
        self.discriminator.eval().requires_grad_(False)
        loss = -self._judge(seen, generator, fade=self.terms.fade(step)).mean()
        for parameter in trained:
            parameter.requires_grad_()
        self.discriminator.train()
        (slope,) = torch.autograd.grad(loss * _SCALE, seen)
        return loss.detach(), slope / _SCALE

    def _ratio(self, rec: Tensor, slope: Tensor, loss: Tensor, last_layer: Tensor) -> Tensor:
        """How much steeper the reconstruction loss is than the game, seen from the last layer."""
        gradients = [
            torch.autograd.grad(loss * _SCALE, last_layer, retain_graph=True)[0].float(),
            torch.autograd.grad(rec, last_layer, slope * _SCALE, retain_graph=True)[0].float(),
        ]
        parallel.sum_over_processes(gradients)
        scale = _SCALE * parallel.world_size()
        wanted, played = (gradient.norm() / scale for gradient in gradients)
        low, high = self.terms.adaptive or (0.0, float("inf"))
        ratio = (wanted / (played + _EPSILON)).clamp(low, high)
        return ratio.sqrt() if self.terms.adaptive_root else ratio
