"""What the declared training corpus says about each evaluation set."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import medbench.harness as harness
from medbench.harness.datasets.card import Card, packaged_card, packaged_cards
from medbench.harness.datasets.contamination import (
    Declaration,
    disclose,
    overlap,
    read_declaration,
)
from medbench.harness.errors import UsageError

ROOT = Path(harness.__file__).parent.parent
MEDITOK = ROOT / "tokenizers" / "declarations" / "meditok_official.yaml"


@pytest.fixture(scope="module")
def meditok() -> Declaration:
    return read_declaration(MEDITOK)


def corpus(*rows: dict, complete: bool = True, stated: dict | None = None) -> Declaration:
    facts = {"tokenizer": "t@v", "paper": "p", "statement": "s", "complete": complete}
    filled = [{"table": "S1", "count": 10, "kind": "images", **row} for row in rows]
    return Declaration.model_validate({**facts, "stated": stated or {}, "rows": filled})


def aset(identifier: str, **facts: object) -> Card:
    base = packaged_card("chase").model_dump() | {"aliases": [], "listed": []}
    return Card.model_validate(base | {"id": identifier} | facts)


@pytest.mark.parametrize(
    ("table", "rows", "total"),
    [
        ("S2", 80, 24_582_593),
        ("S3", 76, 1_589_793),
        ("S4", 75, 223_225),
        ("S5", 52, 12_922),
        ("S6", 8, 2_422_827),
    ],
)
def test_the_declared_corpus_has_every_row_of_the_printed_tables(meditok, table, rows, total):
    counts = [row.count for row in meditok.rows if row.table == table]
    assert (len(counts), sum(counts)) == (rows, total)


def test_the_listed_images_fall_short_of_the_stated_total_and_the_pairs_do_not(meditok):
    assert meditok.listed("images") == 26_408_533
    assert meditok.unlisted == {"images": 33_428_922 - 26_408_533}
    assert not meditok.complete
    assert meditok.tokenizer == "meditok@official"


OVERLAPS = [
    # evaluation set, declared set, relation
    ("chestx-det", "Nih-Chest-X-Rays", "source"),
    ("ivygap-radiomics", "Brats2023-Gli", "shared"),
    ("rsna-bone-age", "RSNA_Bone_Age", "same"),
    ("consep", "Conic2022", "part"),
    ("digestpath19-cls", "Conic2022", "part"),
    ("messidor", "Riga-Dataset", "part"),
    ("drishti-gs", "Drishti-Gs-Cup", "same"),
    ("hrf", "Hrf", "same"),
    ("drive", "Drive", "same"),
    ("refuge", "Refuge2", "part"),
    ("rim-r3", "Rimonedl", "part"),
    ("isic2019", "Isic2019", "same"),
    ("mura", "Mura", "same"),
    ("chexpert", "Chexpertplus", "same"),
    ("luna", "Luna16", "same"),
    ("nih-ct-82", "Pancreas-Ct", "same"),
    ("chaos-mri", "Chaos-Task-4", "same"),
    ("eyepacs", "Eyepacs", "same"),
    ("glas", "Glas", "same"),
    ("monu", "Monuseg", "same"),
    ("chestxray-2017", "Coronahack", "part"),
]


@pytest.mark.parametrize(("name", "row", "relation"), OVERLAPS)
def test_evaluation_sets_that_touch_the_declared_corpus_are_named(meditok, name, row, relation):
    found = overlap(packaged_card(name), meditok)
    assert found.state == "overlap declared"
    assert (row, relation) in {(match.row.name, match.relation) for match in found.matches}
    assert found.text.startswith(f"overlap declared: {name}: ")
    assert row in found.text


@pytest.mark.parametrize(
    ("name", "derived_from", "row"),
    [
        ("chestmnist", ["NIH ChestX-ray14"], "Nih-Chest-X-Rays"),
        ("dermamnist", ["HAM10000"], "Isic2019"),
        ("pneumoniamnist", ["Kermany chest X-ray"], "Coronahack"),
        ("organamnist", ["LiTS"], "Lits"),
        ("pneumoniamnist", ["chestxray-2017"], "Coronahack"),
        ("a set of a set", ["chestx-det"], "Nih-Chest-X-Rays"),
        ("breastmnist", ["BUSI"], None),
        ("octmnist", ["Kermany OCT"], None),
    ],
)
def test_sets_made_from_others_are_followed_to_their_sources(meditok, name, derived_from, row):
    found = overlap(aset(name, derived_from=derived_from), meditok)
    assert {match.row.name for match in found.matches} >= ({row} if row else set())
    assert bool(found.matches) == (row is not None)


def test_the_reconstruction_suite_has_six_sets_that_touch_the_corpus(meditok):
    suite = [card for card in packaged_cards().values() if is_suite(card)]
    touched = {card.id for card in suite if overlap(card, meditok).state == "overlap declared"}
    assert len(suite) == 23
    assert touched == {
        "chestx-det",
        "consep",
        "digestpath19-cls",
        "ivygap-radiomics",
        "messidor",
        "rsna-bone-age",
    }


def is_suite(card: Card) -> bool:
    return any(row.table == "MedITok S7" for row in card.listed)


def test_a_set_that_an_incomplete_list_does_not_name_is_not_called_clean(meditok):
    found = overlap(packaged_card("chase"), meditok)
    assert found.state == found.text == "not disclosed"
    assert "7,020,389 images short of the stated total" in found.reason


def test_a_set_that_a_complete_list_does_not_name_is_clean():
    found = overlap(aset("chase"), corpus({"name": "Drive"}, stated={"images": 10}))
    assert (found.state, found.matches) == ("clean by declaration", ())


@pytest.mark.parametrize("printed", ["CHASE_DB1", "Chase-Db1", "chasedb1", "CHASE DB 1"])
def test_spelling_does_not_hide_a_set(printed):
    card = aset("chase", aliases=["CHASE_DB1"])
    found = overlap(card, corpus({"name": printed}))
    assert [match.relation for match in found.matches] == ["same"]


@pytest.mark.parametrize("printed", ["Chase", "Chase-Quality", "Chas", "Purchase"])
def test_a_part_of_a_name_is_no_match(printed):
    found = overlap(aset("chase-db1"), corpus({"name": printed}))
    assert found.matches == ()


def test_a_variant_of_a_set_is_that_set():
    card = aset("chestx-det@test")
    assert overlap(card, corpus({"name": "Chestx-Det"})).state == "overlap declared"


def test_the_strongest_relation_comes_first_and_tells_the_name_in_common():
    card = aset("own", derived_from=["Origin"])
    rows = [
        {"name": "A", "sources": ["Origin"]},
        {"name": "B", "sources": ["Own"]},
        {"name": "C", "also": ["Origin"]},
        {"name": "Own", "count": None},
    ]
    found = overlap(card, corpus(*rows, complete=False))
    assert [match.relation for match in found.matches] == ["same", "source", "part", "shared"]
    assert found.text == (
        "overlap declared: own: Own (S1) is the same set; "
        "C (S1, 10 images) is where its images come from (Origin); "
        "B (S1, 10 images) takes images from it (Own); "
        "A (S1, 10 images) takes images from the same source (Origin)"
    )


@pytest.mark.parametrize(
    ("training_data", "state"),
    [
        ("none", "none"),
        ("clean by declaration", "clean by declaration"),
        ("not disclosed", "not disclosed"),
        ("overlap declared: some sets", "not disclosed"),
        ("overlap not checked: see the paper", "not disclosed"),
    ],
)
def test_without_a_list_the_summary_of_the_card_is_all_there_is(training_data, state):
    assert disclose(packaged_card("chase"), training_data).state == state


def test_a_list_decides_over_the_summary():
    found = disclose(packaged_card("drive"), "clean by declaration", MEDITOK)
    assert found.state == "overlap declared"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"complete": True}, "declared complete, but the rows differ"),
        ({"complet": False}, "complet"),
        ({"rows": [{"table": "S2", "name": "A", "kind": "images"}]}, "rows.0.count"),
        ({"stated": {"videos": 1}}, "stated"),
    ],
)
def test_a_wrong_declaration_names_file_and_field(tmp_path, change, message):
    facts = yaml.safe_load(MEDITOK.read_bytes()) | change
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(facts))
    with pytest.raises(UsageError, match=rf"wrong\.yaml: not a valid(.|\n)*{message}"):
        read_declaration(path)


def test_an_absent_declaration_is_an_error(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml"):
        read_declaration(tmp_path / "none.yaml")
