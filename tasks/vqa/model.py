"""The model: a tokenizer's features, a two-layer projector, a causal language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...harness.errors import UsageError
from .collate import IGNORED, TokenBatch
from .language import Language


@dataclass(frozen=True, slots=True)
class Scale:
    """A fixed affine map of the features, per dimension: float32 (D,) each."""

    mean: Tensor
    deviation: Tensor


class Projector(nn.Sequential):
    """Linear, GELU, linear: LLaVA's `mlp2x_gelu`, whose keys it has (`0.*`, `2.*`).

    Args:
        features: D of the tokenizer.
        hidden: width of the language model.
        seed: of the random weights.
    """

    def __init__(self, features: int, hidden: int, *, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            super().__init__(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, hidden))


class AnsweringModel(nn.Module):
    """Reads batches of text and image tokens.

    Args:
        language: the language model.
        projector: None for a model without images.
        scale: applied to the features before the projector; None leaves them.

    Raises:
        UsageError: the projector does not fit the language model.
    """

    def __init__(
        self, language: Language, projector: Projector | None, scale: Scale | None = None
    ) -> None:
        super().__init__()
        self.language = language
        self.network: Any = language.model
        self.projector = projector
        self.mean: Tensor | None
        self.deviation: Tensor | None
        self.register_buffer("mean", scale.mean if scale else None)
        self.register_buffer("deviation", scale.deviation if scale else None)
        if projector is not None:
            last: Any = projector[2]
            if last.out_features != language.hidden:
                message = (
                    f"the projector makes {last.out_features} numbers a token, and the language "
                    f"model reads {language.hidden}: they were not trained together"
                )
                raise UsageError(message)

    def embeddings(self, batch: TokenBatch) -> Tensor:
        """(B, T, H): of numbers and, in their places, of image tokens.

        Raises:
            UsageError: the features do not fit the projector.
        """
        found = self.network.get_input_embeddings()(batch.ids)
        if batch.features is None:
            return found
        if self.projector is None:
            message = "a model without a projector cannot see images"
            raise UsageError(message)
        first: Any = self.projector[0]
        features = batch.features
        if features.shape[-1] != first.in_features:
            message = (
                f"features of {features.shape[-1]} numbers a token, and the model was trained on "
                f"{first.in_features}: it belongs to another tokenizer"
            )
            raise UsageError(message)
        if self.mean is not None and self.deviation is not None:
            features = (features - self.mean) / self.deviation
        tokens = self.projector(features.to(first.weight.dtype)).to(found.dtype)
        return found.masked_scatter(batch.image_places[..., None], tokens)

    def loss(self, batch: TokenBatch) -> Tensor:
        """Mean cross-entropy in nats over the answers' numbers."""
        trunk = self.network.get_base_model() if hasattr(self.network, "peft_config") else None
        causal = trunk if trunk is not None else self.network
        states = causal.model(
            inputs_embeds=self.embeddings(batch),
            attention_mask=batch.mask,
            position_ids=batch.positions,
            use_cache=False,
        ).last_hidden_state
        learnt = batch.labels != IGNORED
        logits = causal.lm_head(states[learnt]).float()
        return F.cross_entropy(logits, batch.labels[learnt])
