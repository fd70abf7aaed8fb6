from __future__ import annotations

import pytest

from medbench.tasks.vqa.language import small_language, train_vocabulary
from medbench.tasks.vqa.model import AnsweringModel, Projector
from medbench.tasks.vqa.presets import SmallLanguage

FEATURES = 6
TEXTS = [
    "\n Is this CT? = yes",
    "\n Is this MRI? = no",
    "\n Which organ is shown? = lung",
    "\n = Axial CT of the chest without a nodule.",
]
TERMS = SmallLanguage(
    hidden=32, layers=2, heads=4, key_value_heads=2, intermediate=48, vocabulary=320
)


@pytest.fixture(scope="session")
def vocabulary():
    return train_vocabulary(TEXTS * 3, TERMS.vocabulary)


@pytest.fixture
def language(vocabulary):
    return small_language(TERMS, vocabulary, seed=0)


@pytest.fixture
def model(language):
    return AnsweringModel(language, Projector(FEATURES, language.hidden)).eval()
