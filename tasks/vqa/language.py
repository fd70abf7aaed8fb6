"""The language model and its vocabulary: a small one from scratch, or a published one."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ...harness.documents import load_json
from ...harness.errors import MissingPrerequisite, UsageError
from ...harness.locations import weights_root
from .presets import LoraTerms, PretrainedLanguage, SmallLanguage

logger = logging.getLogger(__name__)

SPECIAL = ("<pad>", "<s>", "</s>")
"""Padding, begin and end of a sequence in a vocabulary of our own."""
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""All linear layers of a block; neither the output layer nor the projector is adapted."""


@dataclass(frozen=True, slots=True)
class Language:
    """A causal language model with its tokenizer, both of transformers.

    Attributes:
        model: `MistralForCausalLM`, or the same with adapters.
        tokenizer: `PreTrainedTokenizerFast`.
    """

    model: Any
    tokenizer: Any

    @property
    def hidden(self) -> int:
        """Width of the model."""
        return int(self.model.config.hidden_size)

    def ids(self, text: str) -> list[int]:
        """Numbers of a text, without those that begin and end a sequence."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @property
    def begin(self) -> int:
        """The number that begins a sequence."""
        return int(self.tokenizer.bos_token_id)

    @property
    def end(self) -> int:
        """The number that ends an answer."""
        return int(self.tokenizer.eos_token_id)

    def text(self, ids: Iterable[int]) -> str:
        """Text of an answer's numbers."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def train_vocabulary(texts: Iterable[str], size: int) -> Any:
    """A byte-level BPE tokenizer of at most `size` entries, trained on the texts."""
    from transformers import PreTrainedTokenizerFast

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    padding, begin, end = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=padding, bos_token=begin, eos_token=end
    )


def small_language(terms: SmallLanguage, tokenizer: Any, *, seed: int) -> Language:
    """A small Mistral with random weights that follow from the seed."""
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=terms.hidden,
        intermediate_size=terms.intermediate,
        num_hidden_layers=terms.layers,
        num_attention_heads=terms.heads,
        num_key_value_heads=terms.key_value_heads,
        max_position_embeddings=4096,
        sliding_window=None,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = MistralForCausalLM(config)
    return Language(model.eval(), tokenizer)


def pretrained_folder(terms: PretrainedLanguage) -> Path:
    """Where the published model lies.

    Raises:
        MissingPrerequisite: it is not on this machine.
    """
    folder = weights_root() / terms.folder
    if not (folder / "config.json").is_file():
        message = (
            f"the language model is not on this machine: looked for {folder}/config.json. Place "
            f"the files of {terms.source} there (licence: {terms.licence}), or use --preset tiny, "
            "which needs no download."
        )
        raise MissingPrerequisite(message)
    return folder


def load_language(folder: Path, *, dtype: torch.dtype | Literal["auto"] = "auto") -> Language:
    """A language model from a folder in transformers' layout, LLaVA's included; no network.

    The image parts of a LLaVA folder (`model.mm_projector.*`, `model.vision_tower.*`) are passed
    over.

    Args:
        folder: weights, `config.json` and tokenizer.
        dtype: of the weights; `auto` leaves them as they are stored.

    Raises:
        UsageError: files are missing, or are not a Mistral model.
    """
    from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

    try:
        facts = load_json(folder / "config.json")
        config = MistralConfig(**{k: v for k, v in facts.items() if not k.startswith(("mm_", "_"))})
        config._attn_implementation = "sdpa"
        model = MistralForCausalLM.from_pretrained(
            folder, config=config, local_files_only=True, dtype=dtype
        )
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the libraries raise many kinds for one fact
        message = f"{folder} is no language model that can be read: {error}"
        raise UsageError(message) from error
    if tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
        message = f"{folder}: the tokenizer has no tokens that begin and end a text"
        raise UsageError(message)
    return Language(model.eval(), tokenizer)


def with_lora(language: Language, terms: LoraTerms, *, seed: int) -> Language:
    """The same model with trainable adapters; everything else is frozen.

    Raises:
        MissingPrerequisite: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        message = "this preset trains adapters: pip install 'medbench[vlm]'"
        raise MissingPrerequisite(message) from error
    config = LoraConfig(
        r=terms.rank,
        lora_alpha=terms.alpha,
        lora_dropout=terms.dropout,
        bias="none",
        target_modules=list(LORA_TARGETS),
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        # peft asks transformers for a property by the name that it had before version 5.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
            model = get_peft_model(language.model, config)
    return Language(model, language.tokenizer)


def recompute_activations(model: Any) -> None:
    """Keep no activations of its blocks in training; the backward pass computes them again."""
    # The latter is its name before version 5 of transformers.
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})


def merged(language: Language) -> Language:
    """The model with its adapters added into the weights; unchanged where it has none."""
    merge = getattr(language.model, "merge_and_unload", None)
    return language if merge is None else Language(merge().eval(), language.tokenizer)
