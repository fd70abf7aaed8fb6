"""The parts that are trained beside a tokenizer's network, without memory, weights or files.

They are counted in a dry run; their values mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from ..errors import UsageError
from .alignment import Alignable, Alignment, AlignmentTerms, alignment_with
from .config_terms import read_fields
from .run_plan import Stage
from .teachers.build import MINIATURE
from .teachers.miniature import MiniatureTerms, as_teacher, build_miniature
from .teachers.open_clip_teacher import UNTRAINED, load_open_clip
from .teachers.protocol import Teacher, TeacherTerms
from .teachers.words import WordTokenizer


def sketch_alignment(
    terms: AlignmentTerms, network: nn.Module, earlier: Sequence[Stage]
) -> Alignment | None:
    """The heads between a network and its teacher, on the meta device.

    Args:
        terms: what the configuration says.
        network: on the meta device.
        earlier: stages of the run before this one, of which one may train the teacher.

    Returns:
        None where only the teacher's own files tell how large it is.
    """
    with torch.device("meta"):
        teacher = _sketch_teacher(terms.teacher, earlier)
        if teacher is None:
            return None
        return alignment_with(teacher, terms, cast(Alignable, network), seed=0)


def _sketch_teacher(terms: TeacherTerms, earlier: Sequence[Stage]) -> Teacher | None:
    if terms.name != MINIATURE:
        try:
            return load_open_clip(terms.name, UNTRAINED)
        except UsageError:  # a repository whose sizes are in its own files
            return None
    trained = next((stage for stage in earlier if stage.name == terms.stage), None)
    if trained is None:
        return None
    sizes = read_fields(MiniatureTerms, trained.config.get("miniature", {}), "miniature")
    words = WordTokenizer(("word",), sizes.context_length)
    return as_teacher(build_miniature(sizes, words, seed=0), words)
