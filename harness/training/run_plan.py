"""What a run consists of: configuration files resolved to stages, without torch.

A configuration is one YAML or JSON file. With `extends: FILE`, or the name of a preset, it is a
change of another one; with `stages` it is several trainings, one after the other, that share
everything else in the file; a length may be written as `{epochs: 3}` where `data.epoch_images` says
how many images an epoch has.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..documents import load_yaml
from ..errors import UsageError
from .overrides import apply_overrides, with_numbers

EXTENDS = "extends"
"""The term of a configuration that names the file or preset it is a change of."""
STAGES = "stages"
_ALONE = "stands alone"
"""Marks a stage that shares nothing with the others; no term of a file can have a blank."""
SUFFIXES = (".yaml", ".yml", ".json")
"""Of configuration files."""
_NAME = "train"
"""Of the only stage where a file names none."""
_CLOSE = 0.75
"""Share of letters in common from which one name may be another one misspelt."""
_STAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Stage:
    """One training of a run.

    Attributes:
        name: also of its folder.
        config: complete, with all lengths in steps; echoed into every checkpoint.
    """

    name: str
    config: Mapping[str, Any]

    @property
    def recipe(self) -> str:
        """Name of what is trained, or `package.module` of a third party's recipe."""
        return str(self.config["recipe"])


def read_stages(
    path: Path, change: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> tuple[Stage, ...]:
    """The stages of a configuration file, in order.

    Args:
        path: the file.
        change: laid over what the file says; None takes a term out.
        overrides: further changes, as `--set` takes them; see `apply_overrides`.

    Raises:
        UsageError: a file is absent, not YAML or extends itself, a stage lacks `recipe` or
            `settings`, or an override names nothing that is there.
    """
    base, change = _merged(path, ()), change or {}
    _check_names(change, base, f"a change of {path}")
    whole = overlaid(base, change)
    stages = whole.pop(STAGES, None)
    if stages is None:
        stages = {_NAME: {}}
    if not isinstance(stages, Mapping):
        message = f"{path}: {STAGES} must hold stages by name, not {stages!r}"
        raise UsageError(message)
    configs: dict[str, dict[str, Any]] = {}
    for name, each in stages.items():
        if not _STAGE_NAME.fullmatch(str(name)) or not isinstance(each, Mapping | None):
            message = (
                f"{path}: {STAGES} must hold mappings by names of letters, digits, '.', '_' and "
                f"'-' (a stage is a folder of the run), not {name!r}: {each!r}"
            )
            raise UsageError(message)
        own = dict(each or {})
        below = {} if own.pop(_ALONE, False) else whole
        configs[str(name)] = overlaid(below, own)
    configs = apply_overrides(configs, overrides, overlaid)
    if not configs:
        message = f"{path} has no stage to train"
        raise UsageError(message)
    return tuple(
        Stage(name, _resolved(_without_none(config), f"{path}: {name}"))
        for name, config in configs.items()
    )


def _resolved(config: dict[str, Any], where: str) -> dict[str, Any]:
    """A stage's configuration, checked for what every stage has, with lengths in steps."""
    if not isinstance(config.get("settings"), Mapping) or not isinstance(config.get("recipe"), str):
        message = f"{where} must hold `recipe`, a name, and `settings`, a mapping"
        raise UsageError(message)
    data = config.get("data")
    images = data.get("epoch_images") if isinstance(data, Mapping) else None
    per_epoch = None
    if isinstance(data, Mapping) and images:
        counts = (
            images,
            data.get("batch_size", 1),
            config["settings"].get("batches_per_step", 1),
        )
        if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in counts):
            message = (
                f"{where}: epoch_images, batch_size and batches_per_step must be whole numbers "
                f"of at least 1, not {', '.join(map(repr, counts))}"
            )
            raise UsageError(message)
        per_epoch = images / (counts[1] * counts[2])
    resolved = _with_steps(config, per_epoch, where)
    assert isinstance(resolved, dict)
    return resolved


def _with_steps(value: Any, per_epoch: float | None, where: str) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"epochs"}:
            return _steps(value["epochs"], per_epoch, where)
        return {k: _with_steps(each, per_epoch, f"{where}.{k}") for k, each in value.items()}
    if isinstance(value, list):
        return [_with_steps(each, per_epoch, where) for each in value]
    return value


def _steps(epochs: Any, per_epoch: float | None, where: str) -> int:
    if per_epoch is None:
        message = f"{where} is given in epochs: say under data.epoch_images how long one is"
        raise UsageError(message)
    number = isinstance(epochs, int | float) and not isinstance(epochs, bool)
    if not number or not math.isfinite(epochs) or epochs < 0:
        message = f"{where}: epochs must be a number of at least 0, not {epochs!r}"
        raise UsageError(message)
    # Whole steps of an epoch only: the last, smaller batch is left out.
    return round(epochs * int(per_epoch))


def _merged(path: Path, before: tuple[Path, ...]) -> dict[str, Any]:
    """The file at `path` with what it extends; `before` are the files that led to it."""
    trail = (*before, path.resolve())
    route = " -> ".join(map(str, trail))
    if trail[-1] in before:
        message = f"training configurations extend each other in a circle: {route}"
        raise UsageError(message)
    try:
        config = with_numbers(load_yaml(path))
    except (OSError, ValueError) as error:
        message = f"cannot read the training configuration {path}: {error}"
        if before:
            message += f" (extended along {route})"
        raise UsageError(message) from error
    if not isinstance(config, dict):
        message = f"{path} must be a YAML mapping that holds `recipe` and `settings`"
        raise UsageError(message)
    stages = config.get(STAGES)
    if isinstance(stages, dict):
        for name, stage in stages.items():
            if isinstance(stage, dict) and EXTENDS in stage:
                stages[name] = {**_on_base(stage, path, trail), _ALONE: True}
    return _on_base(config, path, trail)


def _on_base(config: dict[str, Any], path: Path, trail: tuple[Path, ...]) -> dict[str, Any]:
    """A mapping of the file at `path` laid over the file that it extends, if any."""
    base = config.pop(EXTENDS, None)
    if base is None:
        return config
    if not isinstance(base, str) or not base:
        message = f"{path}: {EXTENDS} must be the name of a file or preset, not {base!r}"
        raise UsageError(message)
    file = path.parent / base
    if file.suffix in SUFFIXES or os.path.exists(file):  # noqa: PTH110 (a too long name is none)
        below = _merged(file, trail)
    else:
        from .presets import find_preset  # which imports this module

        try:
            preset = find_preset(base)
        except UsageError as error:
            message = f"{path}: {EXTENDS} names neither a file nor a preset: {error}"
            raise UsageError(message) from error
        below = overlaid(_merged(preset.config, trail), preset.change)
    _check_names(config, below, str(path))
    return overlaid(below, config)


def _check_names(change: Mapping[str, Any], base: Mapping[str, Any], where: str) -> None:
    """Refuse stages that are misspelt names of the base's: each would be one more training."""
    stages, known = change.get(STAGES), base.get(STAGES)
    if not isinstance(stages, Mapping) or not isinstance(known, Mapping):
        return
    for name in set(map(str, stages)) - set(known):
        near = [each for each in known if _misspelt(name, each)]
        if near or stages.get(name, {}) is None:
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            message = (
                f"{where}: stage {name!r} is none of what it extends ({', '.join(known)}).{hint} "
                "A further stage has a name of its own, and terms."
            )
            raise UsageError(message)


def _misspelt(name: str, known: str) -> bool:
    """Close to a known name, where `stage3` and `stage1-on` are not close to `stage1`."""
    numbers = [re.sub(r"\D", "", each) for each in (name, known)]
    close = difflib.SequenceMatcher(None, name, known).ratio() >= _CLOSE
    return close and numbers[0] == numbers[1] and not name.startswith(known)


def overlaid(
    below: Mapping[str, Any], above: Mapping[str, Any], *, of_stages: bool = False
) -> dict[str, Any]:
    """`below` with the terms of `above`; mappings that both have are overlaid in turn.

    A term that is None above is out. It stays as None, because a stage takes it out of the rest of
    its file too; only a stage itself goes at once, since one that changes nothing is None as well.
    """
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        if of_stages and value is None and name in merged:
            del merged[name]
            continue
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = overlaid(old, value, of_stages=name == STAGES)
        merged[name] = value
    return merged


def _without_none(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if value is not None
    }
