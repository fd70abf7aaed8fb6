"""A word-level tokenizer whose vocabulary is that of the captions it is built from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ...errors import UsageError

_WORD = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?|%")
_PADDING, _UNKNOWN, _FIRST = 0, 1, 2


class WordTokenizer:
    """Texts to numbers: 0 pads, 1 stands for unknown words, the largest number ends a text.

    open_clip's text transformer pools at the largest number of a row.

    Args:
        words: the vocabulary; a word's place is its number.
        context_length: numbers per text; longer texts lose their last words.

    Raises:
        UsageError: a word is there twice, or there is no room for a word.
    """

    def __init__(self, words: Sequence[str], context_length: int) -> None:
        self.words = tuple(words)
        self.context_length = context_length
        self._numbers = {word: place for place, word in enumerate(self.words, _FIRST)}
        if len(self._numbers) != len(self.words):
            message = "the vocabulary holds a word twice"
            raise UsageError(message)
        if context_length < 2:
            message = f"context_length must be at least 2, not {context_length}"
            raise UsageError(message)

    @classmethod
    def of_texts(
        cls, texts: Iterable[str], context_length: int, *, at_least: int = 2
    ) -> WordTokenizer:
        """The tokenizer of these texts: words seen `at_least` so often, in alphabetical order.

        Raises:
            UsageError: the texts have no such words.
        """
        counts = Counter(word for text in texts for word in split(text))
        words = sorted(word for word, count in counts.items() if count >= at_least)
        if not words:
            message = "a vocabulary needs texts: the images of this source have no captions"
            raise UsageError(message)
        return cls(words, context_length)

    @property
    def vocabulary_size(self) -> int:
        """Numbers in use, those for padding, unknown words and the end included."""
        return len(self.words) + _FIRST + 1

    @property
    def end(self) -> int:
        """The number that ends a text."""
        return self.vocabulary_size - 1

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """B texts -> int64 (B, context_length)."""
        rows = torch.full((len(texts), self.context_length), _PADDING, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            numbers = [self._numbers.get(word, _UNKNOWN) for word in split(text)]
            numbers = [*numbers[: self.context_length - 1], self.end]
            row[: len(numbers)] = torch.tensor(numbers)
        return rows


def split(text: str) -> list[str]:
    """Words and numbers in lower case, and percent signs; other signs carry nothing here."""
    return _WORD.findall(text.lower())
