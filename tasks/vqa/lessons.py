"""The stages in order: a language model, the projector on captions, then questions and answers."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ...harness import ranks
from ...harness.array_cache import Kept
from ...harness.errors import UsageError
from ...harness.exclusive import exclusive
from ...harness.file_hashes import file_sha256
from ...harness.files import hash_value
from ...harness.locations import cache_root
from ...harness.sealed import is_whole, write_sealed
from ...harness.task import Cell
from .image_tokens import image_tokens, scale_of, tokenizer_key
from .language import (
    SPECIAL,
    Language,
    load_language,
    merged,
    pretrained_folder,
    small_language,
    train_vocabulary,
    with_lora,
)
from .model import AnsweringModel, Projector
from .presets import Preset, StageTerms, stated_recipe
from .prompt import find_template
from .recipe import AnswerRecipe
from .saved import save_model
from .saved_files import FACTS, ModelFacts, model_files
from .stages import StageKey, train_stage
from .talks import Content, Unit, talks_of, texts_of, units_key, units_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taught:
    """A model after all its stages.

    Attributes:
        model: in evaluation mode.
        key: of its last stage.
    """

    model: AnsweringModel
    key: StageKey


class Lessons:
    """Teaches the models of one cell; what was taught before is read from the cache.

    Args:
        cell: its tokenizer, parts, device and seed.
        preset: the recipe.

    Raises:
        UsageError: the parts have no captions or no questions.
    """

    def __init__(self, cell: Cell, preset: Preset) -> None:
        self.cell, self.preset = cell, preset
        self.template = find_template(preset.template)
        self.talks = {
            name: talks_of(cell.parts[name], preset.images)
            for name in dict.fromkeys((preset.captions, preset.pairs))
        }
        if not any(talk.caption for talk in self.talks[preset.captions]):
            # Sets of questions alone: the projector then first learns on the questions.
            self.first: Content = "pairs"
        else:
            self.first = "captions"
        if not any(talk.pairs for talk in self.talks[preset.pairs]):
            message = f"{cell.parts[preset.pairs].dataset.id} has no questions to learn on"
            raise UsageError(message)

    def with_images(self) -> Taught:
        """The model that sees images through the tokenizer."""
        cell, preset = self.cell, self.preset
        language, facts = self._language()
        captions = self._tokens(preset.captions)
        scale = scale_of(captions.rows) if preset.standardise else None
        projector = Projector(captions.rows.shape[-1], language.hidden)
        model = AnsweringModel(language, projector, scale)
        facts = {
            **facts,
            "tokenizer": tokenizer_key(cell),
            # The code behind a name may change: what is learnt belongs to these very features.
            "tokens": captions.sha256,
            "side": preset.side,
            "scaled": scale is not None,
        }
        units = self._units(preset.captions, language, self.first)
        key = self._key("projector", preset.projector, units, facts)
        language.model.requires_grad_(False)
        self._train(key, model, units, captions.rows, preset.projector, seed=0)
        pairs = self._tokens(preset.pairs)
        key = self._tune(model, {"start": key.folder.name, "tokens": pairs.sha256}, pairs.rows)
        self._save(key, model)
        return Taught(model.eval(), key)

    def without_images(self) -> Taught:
        """The same recipe, tuned on the questions alone; the same for every tokenizer."""
        language, facts = self._language()
        model = AnsweringModel(language, None)
        return Taught(model.eval(), self._tune(model, {**facts, "blind": True}, None))

    def _language(self) -> tuple[Language, dict[str, Any]]:
        """A language model before any image, and what it depends on."""
        terms = self.preset.language
        published = self.preset.pretrained
        if published is not None:
            folder = pretrained_folder(published)
            hashes = {path.name: file_sha256(path) for path in model_files(folder)}
            dtype = torch.bfloat16 if self.preset.tuning.precision == "bf16" else torch.float32
            return load_language(folder, dtype=dtype), {"language": hash_value(hashes)}
        talks = [talk for part in self.talks.values() for talk in part]
        texts = list(texts_of(talks, self.template))
        assert self.preset.text is not None, "a model from scratch has a text stage"
        vocabulary = _vocabulary(texts, terms.vocabulary)  # type: ignore[union-attr]
        language = small_language(terms, vocabulary, seed=0)  # type: ignore[arg-type]
        units = [u for name in self.talks for u in self._units(name, language, "text")]
        key = self._key("text", self.preset.text, units, {"language": asdict(terms)})
        model = AnsweringModel(language, None)
        self._train(key, model, units, None, self.preset.text, seed=0)
        return language, {"language": key.folder.name}

    def _tune(
        self, model: AnsweringModel, facts: Mapping[str, Any], tokens: np.ndarray | None
    ) -> StageKey:
        """Stage 2, in place."""
        preset, seed = self.preset, self.cell.seed
        if preset.lora is not None:
            adapted = with_lora(model.language, preset.lora, seed=seed)
            model.language, model.network = adapted, adapted.model
            facts = {**facts, "lora": asdict(preset.lora)}
        else:
            model.language.model.requires_grad_(True)
        units = self._units(preset.pairs, model.language, "pairs")
        key = self._key("tuning", preset.tuning, units, {**facts, "seed": seed})
        self._train(key, model, units, tokens, preset.tuning, seed=seed)
        if preset.lora is not None:
            whole = merged(model.language)
            model.language, model.network = whole, whole.model
        return key

    def _units(self, part: str, language: Language, content: Content) -> Sequence[Unit]:
        each = self.preset.questions == 1 and content == "pairs"
        return units_of(self.talks[part], language, self.template, content, each=each)

    def _tokens(self, part: str) -> Kept:
        return image_tokens(self.cell, self.cell.parts[part].store, side=self.preset.side)

    def _key(
        self, name: str, terms: StageTerms, units: Sequence[Unit], facts: Mapping[str, Any]
    ) -> StageKey:
        parts = {name: part.store.fingerprint for name, part in self.cell.parts.items()}
        return StageKey(
            name,
            {
                **facts,
                "terms": asdict(terms),
                "units": units_key(units),
                "images": {} if name == "text" else parts,
                "template": asdict(self.template),
                "questions": self.preset.questions,
            },
        )

    def _train(
        self,
        key: StageKey,
        model: AnsweringModel,
        units: Sequence[Unit],
        tokens: np.ndarray | None,
        terms: StageTerms,
        *,
        seed: int,
    ) -> None:
        language = model.language
        captions = key.name == "projector" and self.first == "captions"
        before = self.template.before_caption if captions else self.template.before
        recipe = AnswerRecipe(
            model,
            units,
            tokens,
            before=[language.begin, *language.ids(before)],
            batch=terms.batch,
            questions=self.preset.questions + (key.name == "text"),
            seed=seed,
            projector_scale=(terms.projector_rate or terms.rate) / terms.rate,
        )
        train_stage(key, recipe, terms, seed=seed, device=self.cell.device)

    def _save(self, key: StageKey, model: AnsweringModel) -> None:
        """Beside the stage, as a folder that `--model` takes."""
        folder = key.folder / "model"
        preset, name = self.preset, self.cell.tokenizer.info.full_name
        recipe = {**stated_recipe(preset), "parts": dict(self.cell.plan.parts)}
        facts = ModelFacts(
            preset.template, preset.side, preset.new_tokens, name, preset.prompts, recipe=recipe
        )

        def save() -> None:
            if ranks.own() == 0 and not (folder / FACTS).is_file():
                save_model(folder, model, facts)
                logger.info("the trained model: %s", folder)

        ranks.together(save)


def _vocabulary(texts: Sequence[str], size: int) -> Any:
    """Trained once per texts; read afterwards, so that all tokenizers have the same one."""
    from transformers import PreTrainedTokenizerFast

    key = hash_value(["vocabulary-1", size, hash_value(list(texts))])
    path = cache_root() / "vqa" / f"vocabulary-{key[:24]}" / "vocabulary.json"
    with exclusive(f"vqa-{path.parent.name}", "the vocabulary"):
        if not is_whole(path):
            trained = train_vocabulary(texts, size)
            write_sealed(path, trained.backend_tokenizer.to_str().encode())
    special = dict(zip(("pad_token", "bos_token", "eos_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_file=str(path), **special)
