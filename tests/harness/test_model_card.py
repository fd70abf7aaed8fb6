from __future__ import annotations

from pathlib import Path

import pytest

import medbench.baselines
from medbench.harness.errors import UsageError
from medbench.harness.model_card import read_model_card
from medbench.harness.tokenizer_registry import tokenizer_entries

ROOT = Path(medbench.baselines.__file__).parents[1]
CARDS = {
    path.stem: path
    for folder in ("tokenizers", "baselines")
    for path in sorted((ROOT / folder / "cards").glob("*.yaml"))
}
MODELS = [e for e in tokenizer_entries().values() if e.kind in {"discrete", "continuous"}]


def _card_of(name: str):
    cards = [read_model_card(path) for path in CARDS.values()]
    return next(card for card in cards if name in (card.name, *card.also))


@pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry.name)
def test_every_variant_of_every_model_has_a_card_with_its_terms(entry):
    card = _card_of(entry.name)
    for name, variant in entry.variants.items():
        facts = card.variants[name]
        licence = getattr(variant.weights, "licence", None)
        assert licence is not None
        same = facts.licence.casefold() == licence.casefold()
        assert same, f"{entry.name}@{name}: card {facts.licence}, catalogue {licence}"


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_called_as_its_model_and_names_what_goes_wrong(name):
    card = read_model_card(CARDS[name])
    assert card.name == name
    assert card.traps
    assert card.paper_url.startswith("https://")
    assert card.code.url.startswith("https://")


def _edited(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "card.yaml"
    path.write_text(CARDS["unitok"].read_text().replace(old, new))
    return path


def test_an_unknown_field_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"card\.yaml.*\n.*licence_of_weights"):
        read_model_card(_edited(tmp_path, "title:", "licence_of_weights: x\ntitle:"))


def test_a_disclosure_outside_the_vocabulary_is_refused(tmp_path):
    path = _edited(tmp_path, "clean by declaration", "probably clean")
    with pytest.raises(UsageError, match="'probably clean'; write none, clean by declaration"):
        read_model_card(path)


def test_own_weights_are_never_called_clean():
    found = read_model_card(CARDS["unitok"]).provenance("mine")
    assert (found.training_data, found.weights_licence) == ("not disclosed", "unknown")


def test_a_declared_corpus_is_found_beside_the_card_and_speaks_of_single_sets():
    from medbench.harness.datasets.card import packaged_card
    from medbench.harness.datasets.contamination import disclose
    from medbench.harness.model_card import declared_corpus

    corpus = declared_corpus(CARDS["meditok"], "official")
    assert corpus is not None
    found = disclose(packaged_card("hrf"), "overlap declared: some sets", corpus)
    assert found.text.startswith("overlap declared: hrf: Hrf (S5, 45 images) is the same set")
    assert declared_corpus(CARDS["meditok"], "tiny") is None
    assert declared_corpus(None, "official") is None
