"""What would stop a stage of a run, told before the first one is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import MedbenchError, MissingPrerequisite, UsageError
from .adversarial import AdversarialTerms, DiscriminatorKind, unknown_discriminator
from .alignment import require_head
from .config_terms import read_fields
from .patch_discriminator import KIND as PATCH
from .perceptual import find_trunk
from .presets import recipe_module
from .run_plan import Stage
from .settings import TrainingSettings
from .sources.look import source_problems
from .teachers.build import find_teacher
from .teachers.protocol import TeacherTerms
from .tokenizer_terms import TokenizerTerms, sections


def check_stages(stages: Sequence[Stage]) -> None:
    """Refuse a stage that is not configured right.

    Raises:
        UsageError: a term is unknown, missing or impossible, or a stage needs a later one.
    """
    for place, stage in enumerate(stages):
        settings = read_fields(TrainingSettings, stage.config["settings"], f"{stage.name}.settings")
        module = recipe_module(stage.recipe)
        if not hasattr(module, "make"):
            continue
        terms = read_fields(TokenizerTerms, sections(stage.config), stage.name)
        _check_terms(stage, terms, settings)
        _check_order(stage, terms, [earlier.name for earlier in stages[:place]])
        with torch.device("meta"):
            network = module.make(stage.config, seed=0).network
        if terms.alignment is not None:
            require_head(network)


def require(stages: Sequence[Stage]) -> None:
    """Refuse stages for which something is not on this machine.

    Raises:
        MissingPrerequisite: data or weights are not here; all of them are named.
        UsageError: data are here and of no use.
    """
    found = _problems(stages)
    if not found:
        return
    kinds = {type(error) for _, error in found}
    lines = "".join(f"\n  {name}: {error}" for name, error in found)
    message = f"nothing is trained before all that the stages need is there:{lines}"
    raise MissingPrerequisite(message) if kinds == {MissingPrerequisite} else UsageError(message)


def missing(stages: Sequence[Stage]) -> list[str]:
    """What the stages need and this machine has not, a line each."""
    return [f"{name}: {error}" for name, error in _problems(stages)]


def discriminator_kinds(module: Any) -> dict[str, DiscriminatorKind]:
    """Those that a recipe's configuration can name."""
    return {"patch": PATCH, **getattr(module, "DISCRIMINATORS", {})}


def method_teacher(module: Any, config: Mapping[str, Any]) -> TeacherTerms | None:
    """The teacher that a recipe's method learns from beside the alignment's, where it has one."""
    find = getattr(module, "method_teacher", None)
    return None if find is None else find(config)


def _check_terms(stage: Stage, terms: TokenizerTerms, settings: TrainingSettings) -> None:
    if settings.validate_every and terms.validation is None:
        message = (
            f"{stage.name}: settings.validate_every is {settings.validate_every}, and there is no "
            "section `validation` that says what is looked at. Add it, or leave out validate_every"
        )
        raise UsageError(message)
    if (terms.adversarial is None) != (settings.opponent is None):
        message = (
            f"{stage.name}: `adversarial` (the discriminator's game) and `settings.opponent` (its "
            "optimiser) go together: give both or none"
        )
        raise UsageError(message)


def _check_order(stage: Stage, terms: TokenizerTerms, earlier: Sequence[str]) -> None:
    teacher = terms.alignment.teacher if terms.alignment is not None else None
    parts = {
        "start": terms.start,
        "alignment.teacher": teacher,
        "method.teacher": method_teacher(recipe_module(stage.recipe), stage.config),
    }
    for term, part in parts.items():
        if part is not None and part.stage is not None and part.stage not in earlier:
            message = (
                f"{stage.name} needs {part.stage}, which is no earlier stage of this run; those "
                f"are: {', '.join(earlier) or 'none'}. What another run trained is given as "
                f"{term}: {{stage: null, weights: PATH}}"
            )
            raise UsageError(message)


def _problems(stages: Sequence[Stage]) -> list[tuple[str, MedbenchError]]:
    """What is not here, each with the names of the stages that need it."""
    found: dict[str, tuple[list[str], MedbenchError]] = {}
    for stage in stages:
        module = recipe_module(stage.recipe)
        if hasattr(module, "make"):
            problems = _of_tokenizer(stage.config, discriminator_kinds(module))
            further = method_teacher(module, stage.config)
            problems += [] if further is None else _problem_of(find_teacher, further)
        elif hasattr(module, "problems"):
            problems = module.problems(stage.config)
        else:
            problems = []
        for error in problems:
            names, _ = found.setdefault(str(error), ([], error))
            names += [stage.name] if stage.name not in names else []
    return [(", ".join(names), error) for names, error in found.values()]


def _of_tokenizer(
    config: Mapping[str, Any], kinds: Mapping[str, DiscriminatorKind]
) -> list[MedbenchError]:
    terms = read_fields(TokenizerTerms, sections(config), "the configuration")
    teacher, looked_at = terms.alignment, terms.validation
    learns_texts = teacher is not None and teacher.side == "text"
    problems = source_problems(
        terms.data.source,
        "data.source",
        texts=learns_texts,
        epoch_images=terms.data.epoch_images,
    )
    if terms.start is not None and terms.start.weights is not None:
        problems += _problem_of(_find_file, terms.start.weights, "start.weights")
    if terms.perceptual is not None:
        problems += _problem_of(find_trunk, terms.perceptual)
    if terms.adversarial is not None:
        problems += _problem_of(_find_discriminator, terms.adversarial, kinds)
    if teacher is not None:
        problems += _problem_of(find_teacher, teacher.teacher)
    if looked_at is not None:
        problems += source_problems(looked_at.source, "validation.source")
        if looked_at.probe is not None:
            problems += source_problems(looked_at.probe.fit, "validation.probe.fit")
            problems += source_problems(looked_at.probe.test, "validation.probe.test")
    return problems


def _problem_of(look: Callable[..., object], *arguments: Any) -> list[MedbenchError]:
    try:
        look(*arguments)
    except MedbenchError as error:
        return [error]
    return []


def _find_file(path: str, where: str) -> None:
    if not Path(path).is_file():
        message = f"{where}: there is no file {path}"
        raise MissingPrerequisite(message)


def _find_discriminator(terms: AdversarialTerms, kinds: Mapping[str, DiscriminatorKind]) -> None:
    if terms.kind not in kinds:
        raise unknown_discriminator(terms.kind, kinds)
    kinds[terms.kind].find(terms.discriminator)
