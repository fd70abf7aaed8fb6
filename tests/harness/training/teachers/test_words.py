from __future__ import annotations

from collections import Counter

import pytest

from medbench.harness.datasets import medsynth
from medbench.harness.errors import UsageError
from medbench.harness.training.teachers.words import WordTokenizer, split


def test_words_numbers_and_percent_signs_are_kept() -> None:
    assert split("T1-weighted; about 4% of 0.3 (mild).") == (
        ["t1", "weighted", "about", "4", "%", "of", "0.3", "mild"]
    )


def test_rows_are_words_then_the_largest_number_then_padding() -> None:
    words = WordTokenizer(["large", "left", "nodule"], context_length=5)
    assert words(["Nodule, left.", "", "a large left nodule here"]).tolist() == [
        [4, 3, 5, 0, 0],
        [5, 0, 0, 0, 0],
        [1, 2, 3, 4, 5],
    ]
    assert words.end == words.vocabulary_size - 1 == 5


def test_the_vocabulary_is_that_of_the_texts_whatever_their_order() -> None:
    texts = [medsynth.describe(m, n).caption for m in ("ct", "mri") for n in range(20)]
    words = WordTokenizer.of_texts(texts, 48)
    assert words.words == WordTokenizer.of_texts(reversed(texts), 48).words
    # A second reading of the captions: what is between signs.
    plain = Counter(
        word for text in texts for word in text.lower().replace("-", " ").replace(",", "").split()
    )
    often = {word.strip(".;:()") for word, count in plain.items() if count > 5}
    assert {word for word in often if word.isalpha()} <= set(words.words)
    assert 1 not in words([texts[0].split(".")[0]])[0, :3]


def test_rare_words_are_left_out() -> None:
    assert WordTokenizer.of_texts(["a b", "a c", "a"], 8).words == ("a",)


@pytest.mark.parametrize(
    ("words", "length", "message"),
    [(["a", "a"], 8, "twice"), (["a"], 1, "at least 2")],
)
def test_an_impossible_vocabulary_is_refused(words, length, message) -> None:
    with pytest.raises(UsageError, match=message):
        WordTokenizer(words, length)


def test_images_without_captions_give_no_vocabulary() -> None:
    with pytest.raises(UsageError, match="no captions"):
        WordTokenizer.of_texts(["", ""], 8)
