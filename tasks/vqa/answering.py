"""Answering: one prefill per question, then greedy and sampled answers from the same start.

The draws of a sampled answer follow from the seed and the question alone, so that batches do not
matter to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .collate import Row, Segment, TokenBatch, collate
from .model import AnsweringModel
from .presets import TEMPERATURE
from .prompt import Template


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question to be answered.

    Attributes:
        id: of the question.
        question: as asked.
        image: float (L, D) features; None asks without an image.
    """

    id: str
    question: str
    image: np.ndarray | None


@torch.inference_mode()
def answer(
    model: AnsweringModel,
    prompts: Sequence[Prompt],
    template: Template,
    *,
    new_tokens: int,
    samples: Sequence[int] = (),
) -> list[list[str]]:
    """Answer a batch of questions.

    Args:
        model: in evaluation mode.
        prompts: the questions.
        template: the prompt's form.
        new_tokens: longest answer.
        samples: seeds of further answers at temperature 0.2.

    Returns:
        For each question the greedy answer, then one for each seed.
    """
    language = model.language
    before = [language.begin, *language.ids(template.before)]
    rows = [
        Row(before, p.image, (), [Segment(language.ids(template.ask(p.question)))]) for p in prompts
    ]
    device = next(model.parameters()).device
    batch = collate(rows).to(device)
    draws = _uniforms(prompts, samples, new_tokens).to(device)
    ids = _generate(model, batch, draws, new_tokens)
    texts = [language.text(_until(row, language.end)) for row in ids.tolist()]
    each = 1 + len(samples)
    return [texts[start : start + each] for start in range(0, len(texts), each)]


def _generate(model: AnsweringModel, batch: TokenBatch, draws: Tensor, new_tokens: int) -> Tensor:
    """int64 (B * R, n): R answers to each question, the greedy one first."""
    network: Any = model.network
    answers = 1 + draws.shape[1]
    output = network(
        inputs_embeds=model.embeddings(batch),
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=True,
    )
    last = batch.lengths - 1
    logits = output.logits[torch.arange(batch.images, device=last.device), last]
    cache = output.past_key_values
    cache.batch_repeat_interleave(answers)
    # Further on, every place of the question is seen, and no padding.
    seen = torch.arange(batch.ids.shape[1], device=last.device) < batch.lengths[:, None]
    seen = seen.repeat_interleave(answers, dim=0)
    logits = logits.repeat_interleave(answers, dim=0)
    positions = batch.positions.amax(dim=1).repeat_interleave(answers)
    uniforms = draws.new_zeros(batch.images, answers, new_tokens)
    uniforms[:, 1:] = draws
    uniforms = uniforms.flatten(0, 1)
    greedy = torch.arange(len(logits), device=last.device) % answers == 0
    ended = torch.zeros_like(greedy)
    found: list[Tensor] = []
    for step in range(new_tokens):
        chosen = _choose(logits.float(), uniforms[:, step], greedy)
        chosen = torch.where(ended, model.language.end, chosen)
        found.append(chosen)
        ended |= chosen == model.language.end
        if bool(ended.all()) or step + 1 == new_tokens:
            break
        seen = torch.cat([seen, seen.new_ones(len(seen), 1)], dim=1)
        positions = positions + 1
        output = network(
            input_ids=chosen[:, None],
            attention_mask=seen[:, None, None],
            position_ids=positions[:, None],
            past_key_values=cache,
            use_cache=True,
        )
        logits = output.logits[:, -1]
    return torch.stack(found, dim=1)


def _choose(logits: Tensor, uniform: Tensor, greedy: Tensor) -> Tensor:
    """The most likely number where `greedy`, else a draw at temperature 0.2."""
    best = logits.argmax(dim=-1)
    sums = torch.softmax(logits / TEMPERATURE, dim=-1).double().cumsum(dim=-1)
    drawn = torch.searchsorted(sums, (uniform[:, None] * sums[:, -1:])).squeeze(1)
    return torch.where(greedy, best, drawn.clamp(max=logits.shape[-1] - 1))


def _uniforms(prompts: Sequence[Prompt], samples: Sequence[int], count: int) -> Tensor:
    """float64 (B, R - 1, count), of seed and question."""
    found = np.empty((len(prompts), len(samples), count))
    for row, prompt in enumerate(prompts):
        for column, seed in enumerate(samples):
            digest = hashlib.sha256(f"{seed}\0{prompt.id}".encode()).digest()
            words = np.random.Philox(key=int.from_bytes(digest[:16], "little"))
            found[row, column] = np.random.Generator(words).random(count)
    return torch.from_numpy(found)


def _until(ids: Sequence[int], end: int) -> list[int]:
    """What stands before the end."""
    ids = list(ids)
    return ids[: ids.index(end)] if end in ids else ids
