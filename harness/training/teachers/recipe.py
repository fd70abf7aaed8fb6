"""Training the teacher in miniature: contrast between images and their captions, as CLIP's.

Source: Radford et al. 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import MedbenchError, UsageError
from ...locations import cache_root
from .. import parallel
from ..alignment import retrieval
from ..config_terms import read_fields
from ..feed import Batch, Feed
from ..losses import contrastive_loss
from ..recipe import Recipe, StepLosses
from ..settings import TrainingSettings
from ..sources.build import build_source
from ..sources.datasets import require_epoch
from ..sources.look import source_problems
from ..sources.source import ImageSource
from ..tokenizer_terms import DataTerms
from .clip_teacher import to_side
from .miniature import MiniatureTerms, build_miniature, save_facts
from .words import WordTokenizer

_LARGEST_LOGIT_SCALE = 4.6052
"""ln 100: the temperature is kept above 0.01."""
_APART = 1 << 41
"""Position of the images whose captions give the vocabulary: no step of training comes so far."""


class MiniatureRecipe(Recipe):
    """Trains both towers on a source's images and their captions.

    Args:
        network: from `build_miniature`.
        words: numbers the captions' words.
        terms: how images are changed.
        data: batches.
        source: where images and captions come from. Captions name left and right: images must
            not be mirrored.
        workers: processes that prepare batches.
        parts_per_step: batches per step.
    """

    def __init__(
        self,
        network: nn.Module,
        words: WordTokenizer,
        terms: MiniatureTerms,
        data: DataTerms,
        source: ImageSource,
        *,
        workers: int = 0,
        parts_per_step: int = 1,
    ) -> None:
        self.model = network
        self.words = words
        self.terms = terms
        self.data = data
        self.fingerprint = source.fingerprint
        self._feed = Feed(source, data.at, parts_per_step, workers=workers)

    def batches(self, first_step: int) -> Iterator[Batch]:
        """This process's shares of the batches."""
        return self._feed.batches(first_step)

    def losses(self, step: int, batch: Batch, generator: torch.Generator) -> StepLosses:
        """The contrast of one batch, among the images of all processes."""
        network: Any = self.model
        if not all(batch.texts):
            message = f"image {batch.positions[batch.texts.index('')]} of the source has no caption"
            raise UsageError(message)
        count, _ = self.data.at(step)
        images = jitter(batch.images * 2 - 1, count, self.terms, generator)
        scale = network.logit_scale
        found = network.encode_image(to_side(images.to(scale.device), self.terms.side, "area"))
        told = network.encode_text(self.words(batch.texts).to(scale.device))
        with torch.autocast(scale.device.type, enabled=False):
            found = parallel.gather_rows(found.float())
            told = parallel.gather_rows(told.float())
            loss = contrastive_loss(found, told, scale.float().exp())
        readings = {"retrieval": retrieval(found, told), "logit_scale": scale.detach()}
        return StepLosses({"contrast": loss}, readings, images=len(images))

    def after_step(self, step: int, generator: torch.Generator) -> None:
        """Keep the contrastive temperature in its range."""
        del step, generator
        network: Any = self.model
        with torch.no_grad():
            network.logit_scale.clamp_(0, _LARGEST_LOGIT_SCALE)

    def export(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As they are: open_clip's keys."""
        return dict(weights)


def build(config: Mapping[str, Any], settings: TrainingSettings, work: Path) -> MiniatureRecipe:
    """The recipe of a stage; writes the vocabulary beside where the weights will be.

    Args:
        config: `miniature` (see `MiniatureTerms`) and `data`; other sections belong to the stages
            that share the file.
        settings: of the run.
        work: the stage's folder.

    Raises:
        UsageError: the configuration is wrong, or the images have no captions.
        MissingPrerequisite: data that it names are not on this machine.
    """
    terms = read_fields(MiniatureTerms, config.get("miniature", {}), "miniature")
    data = read_fields(DataTerms, config.get("data", {}), "data")
    source = build_source(
        data.source,
        seed=settings.seed,
        cache=cache_root(),
        workers=max(settings.threads, 1),
        where="data.source",
    )
    require_epoch(source, data.epoch_images)
    # From the source itself, so that the words are those of any data set.
    _, side = data.at(0)
    places = range(_APART, _APART + terms.vocabulary_images)
    captions = [source.sample(place, side).text for place in places]
    words = WordTokenizer.of_texts(captions, terms.context_length)
    if parallel.rank() == 0:
        save_facts(work, terms, words)
    return MiniatureRecipe(
        build_miniature(terms, words, seed=settings.seed),
        words,
        terms,
        data,
        source,
        workers=settings.workers,
        parts_per_step=settings.batches_per_step,
    )


def problems(config: Mapping[str, Any]) -> list[MedbenchError]:
    """What a stage needs and this machine has not; see `prerequisites`."""
    data = read_fields(DataTerms, config.get("data", {}), "data")
    return source_problems(data.source, "data.source", texts=True, epoch_images=data.epoch_images)


def jitter(images: Tensor, count: int, terms: MiniatureTerms, generator: torch.Generator) -> Tensor:
    """Move images by some pixels, and change their brightness and contrast.

    Neither changes what a caption says. The draws are made for the whole batch, so that they are
    the same however many processes share it.

    Args:
        images: this process's rows, (b, 3, H, H) in [-1, 1].
        count: images of the whole batch.
        terms: how far.
        generator: of the batch.
    """
    rows = parallel.own_rows(count)
    moves = torch.randint(2 * terms.shift + 1, (count, 2), generator=generator)[rows]
    gain, offset = 1 + terms.light * (2 * torch.rand(2, count, generator=generator) - 1)
    side = images.shape[-1]
    padded = F.pad(images, (terms.shift,) * 4, mode="replicate")
    moved = torch.stack(
        [
            image[:, top : top + side, left : left + side]
            for image, (top, left) in zip(padded, moves.tolist(), strict=True)
        ]
    )
    return moved * gain[rows].view(-1, 1, 1, 1) + (offset[rows] - 1).view(-1, 1, 1, 1)
