"""From a configuration to the recipe of a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import nn

from ..checkpoint import read_checkpoint
from ..errors import UsageError
from ..locations import cache_root
from ..weights import load_into
from . import patch_discriminator
from .adversarial import DiscriminatorKind, build_game
from .alignment import Alignable, build_alignment, require_head
from .checkpoint import load_latest
from .config_terms import read_fields
from .perceptual import build_perceptual
from .settings import TrainingSettings
from .sources.build import build_source
from .sources.datasets import require_epoch
from .sources.source import ImageSource
from .tokenizer_recipe import TokenizerRecipe
from .tokenizer_terms import Start, TokenizerTerms, sections
from .trainable import Trainable
from .validation import TokenizerValidation

_LOOKED_AT = 64
"""Images among which at least one must have a caption."""


def build_tokenizer_recipe(
    trainable: Trainable,
    config: Mapping[str, Any],
    settings: TrainingSettings,
    work: Path,
    *,
    discriminators: Mapping[str, DiscriminatorKind] | None = None,
) -> TokenizerRecipe:
    """The recipe that trains `trainable`.

    Args:
        trainable: the network and its method.
        config: of the stage; see `TokenizerTerms`.
        settings: of the run.
        work: the stage's folder; earlier stages of the run lie beside it.
        discriminators: kinds beside `patch`.

    Raises:
        UsageError: the configuration is wrong.
        MissingPrerequisite: data or weights that it names are not on this machine.
    """
    terms = read_fields(TokenizerTerms, sections(config), "the configuration")
    if terms.start is not None:
        load_start(trainable.network, terms.start, work)
    if settings.checkpoint_activations:
        save_memory = getattr(trainable.network, "checkpoint_activations", None)
        if save_memory is None:
            message = "this network cannot compute activations again: checkpoint_activations: false"
            raise UsageError(message)
        save_memory()
    source = build_source(
        terms.data.source,
        seed=settings.seed,
        cache=cache_root(),
        workers=max(settings.threads, 1),
        where="data.source",
    )
    require_epoch(source, terms.data.epoch_images)
    recipe = TokenizerRecipe(
        trainable,
        terms,
        source,
        seed=settings.seed,
        workers=settings.workers,
        parts_per_step=settings.batches_per_step,
    )
    if terms.perceptual is not None:
        recipe.perceptual = build_perceptual(terms.perceptual)
    if terms.adversarial is not None:
        kinds = {"patch": patch_discriminator.KIND, **(discriminators or {})}
        factories = {name: kind.build for name, kind in kinds.items()}
        recipe.play(build_game(terms.adversarial, factories, seed=settings.seed))
    if terms.alignment is not None:
        require_head(trainable.network)
        if terms.alignment.side == "text":
            _require_captions(source, terms.data.at(0)[1])
        network = cast(Alignable, trainable.network)
        recipe.align(build_alignment(terms.alignment, network, work, seed=settings.seed))
    if terms.validation is not None:
        recipe.validation = TokenizerValidation(terms.validation)
    return recipe


def _require_captions(source: ImageSource, side: int) -> None:
    """Refuse a source without texts before hours are spent on it."""
    if not any(source.sample(place, side).text for place in range(_LOOKED_AT)):
        message = (
            f"none of the first {_LOOKED_AT} training images has a caption, which alignment with "
            "texts needs: say `caption: caption` under data.source, or choose data that have them"
        )
        raise UsageError(message)


def load_start(network: nn.Module, start: Start, work: Path) -> None:
    """Put the weights that a stage starts from into its network.

    Heads that an earlier stage trained beside it are left behind, as upstream.

    Raises:
        UsageError: there are no such weights, or they do not fit.
    """
    if start.weights is not None:
        state = read_checkpoint(start.weights, name=start.weights).state
        load_into(network, state, name=start.weights, allow_unexpected=(r"text_",))
        return
    folder = work.parent / str(start.stage) / "checkpoints"
    found = load_latest(folder)
    if found is None:
        message = f"this stage starts from {start.stage}, but {folder} holds no checkpoint"
        raise UsageError(message)
    weights = found.average if found.average is not None else found.model
    core = {k.removeprefix("core."): v for k, v in weights.items() if k.startswith("core.")}
    network.load_state_dict(core)
