from __future__ import annotations

import json
from dataclasses import replace

import pytest
from PIL import Image

from medbench.harness.runner import run
from medbench.tasks.vqa import presets
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
SMOKE = presets.PRESETS["smoke"]
MICRO = replace(
    SMOKE,
    name="micro",
    ranked=True,
    images=2,
    text=replace(SMOKE.text, steps=3),
    projector=replace(SMOKE.projector, steps=2),
    tuning=replace(SMOKE.tuning, steps=3),
    new_tokens=3,
    scored=2,
)
"""`smoke` in seconds, as if it were ranked."""
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


@pytest.fixture
def micro(monkeypatch):
    monkeypatch.setitem(presets.PRESETS, "micro", MICRO)


def measure(output, tokenizer="meditok", **options):
    return run(tokenizer, "vqa", limit=1, output=output, device="cpu", **options)[0]


@pytest.fixture
def vqa_rad(tmp_path, monkeypatch):
    """Six questions about three images, of which one is not there."""
    monkeypatch.setenv("MEDBENCH_ALLOW_MODIFIED", "1")
    folder = tmp_path / "data" / "vqa-rad"
    (folder / "VQA_RAD Image Folder").mkdir(parents=True)
    for number in range(2):
        picture = Image.new("RGB", (20, 30), (60 * number, 9, 9))
        picture.save(folder / "VQA_RAD Image Folder" / f"i{number}.jpg")
    rows = [
        {
            "qid": number,
            "phrase_type": "test_freeform",
            "image_name": f"i{number // 2}.jpg",
            "image_organ": ("HEAD", "CHEST", "ABD")[number // 2],
            "question": "Is it?" if number % 2 else "What is it?",
            "question_type": "PRES" if number % 2 else "ABN, PRES",
            "answer": "Yes" if number % 2 else "The lung",
            "answer_type": "CLOSED" if number % 2 else "OPEN",
        }
        for number in range(6)
    ]
    (folder / "VQA_RAD Dataset Public.json").write_text(json.dumps(rows))
    return tmp_path


def add_training_question(root):
    path = root / "data" / "vqa-rad" / "VQA_RAD Dataset Public.json"
    rows = json.loads(path.read_text())
    asked = {"qid": 9, "phrase_type": "freeform", "image_name": "i0.jpg", "image_organ": "HEAD"}
    learnt = {"question": "Is it?", "question_type": "PRES", "answer": "Yes"}
    path.write_text(json.dumps([*rows, asked | learnt | {"answer_type": "CLOSED"}]))
