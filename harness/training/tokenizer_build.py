"""From a configuration to the recipe of a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from ..checkpoint import read_checkpoint
from ..errors import UsageError
from ..locations import cache_root
from ..tokenizer_registry import load_tokenizer, tokenizer_entries
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
        load_start(trainable.network, terms.start, work, config=config)
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


def load_start(network: nn.Module, start: Start, work: Path, *, config: Mapping[str, Any]) -> None:
    """Put the weights that a stage starts from into its network.

    A file is read as the tokenizer of the recipe's name reads it. Heads that an earlier stage
    trained beside the network are left behind, as upstream.

    Args:
        network: changed in place.
        start: which weights.
        work: the stage's folder.
        config: of the stage; `recipe` and `model` count.

    Raises:
        UsageError: there are no such weights, or they do not fit.
    """
    if start.weights is not None:
        load_into(network, _weights(start.weights, config), name=start.weights)
        return
    folder = work.parent / str(start.stage) / "checkpoints"
    found = load_latest(folder)
    if found is None:
        message = f"this stage starts from {start.stage}, but {folder} holds no checkpoint"
        raise UsageError(message)
    weights = found.average if found.average is not None else found.model
    core = {k.removeprefix("core."): v for k, v in weights.items() if k.startswith("core.")}
    network.load_state_dict(core)


def _weights(file: str, config: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The tensors of a file under the network's own keys; those of upstream may be others."""
    if config["recipe"] in tokenizer_entries():
        tokenizer = load_tokenizer(config["recipe"], config=config["model"], weights=file)
        if isinstance(model := getattr(tokenizer, "model", None), nn.Module):
            return model.state_dict()
    return read_checkpoint(file, name=file).state
