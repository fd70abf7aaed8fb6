"""From a configuration's terms to a teacher."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from .miniature import load_miniature, require_files
from .open_clip_teacher import KNOWN, find_open_clip, knows, load_open_clip
from .protocol import Teacher, TeacherTerms

MINIATURE = "miniature"


def build_teacher(terms: TeacherTerms, run_folder: Path) -> Teacher:
    """The teacher that a configuration names.

    Args:
        terms: what it says.
        run_folder: the folder in which the run's stages lie.

    Raises:
        MissingPrerequisite: its weights are not on this machine.
        UsageError: there is no such teacher, or its weights do not fit.
    """
    _check(terms)
    if terms.name == MINIATURE:
        return load_miniature(miniature_folder(terms, run_folder))
    return load_open_clip(terms.name, terms.weights)


def find_teacher(terms: TeacherTerms) -> None:
    """Look for a teacher's files, without reading them; not for one that the run itself trains.

    Raises:
        MissingPrerequisite: its weights are not on this machine.
        UsageError: there is no such teacher.
    """
    _check(terms)
    if terms.name != MINIATURE:
        find_open_clip(terms.name, terms.weights)
    elif terms.weights is not None:
        require_files(Path(terms.weights))


def _check(terms: TeacherTerms) -> None:
    if terms.name == MINIATURE:
        miniature_folder(terms, Path())
        return
    if terms.stage is not None:
        message = f"the teacher {terms.name!r} is published: `stage` goes with `miniature` only"
        raise UsageError(message)
    if not knows(terms.name):
        message = f"unknown teacher {terms.name!r}; known: {', '.join((MINIATURE, *KNOWN))}"
        raise UsageError(message)


def miniature_folder(terms: TeacherTerms, run_folder: Path) -> Path:
    """Where a configuration says that the teacher in miniature lies.

    Raises:
        UsageError: neither or both places are named.
    """
    if (terms.stage is None) == (terms.weights is None):
        message = (
            "the teacher `miniature` needs either `stage`, the earlier stage that trained it, "
            "or `weights`, the folder of such a stage"
        )
        raise UsageError(message)
    return run_folder / terms.stage if terms.stage is not None else Path(str(terms.weights))
