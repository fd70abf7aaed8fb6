from __future__ import annotations

import pytest

from medbench.harness.errors import UsageError
from medbench.leaderboard.boards import by_track
from medbench.leaderboard.markdown import render
from medbench.leaderboard.trust import (
    WORDS,
    Given,
    Mark,
    Marks,
    read_marks,
    record_key,
    track_of,
    trust_mark,
)


def given(record, mark):
    return Marks({record_key(record): Given(mark=mark, by="M", date="2026-01-02", reason="why")})


def test_every_word_has_a_shape_of_its_own_and_a_meaning():
    marks = [Mark(word) for word in WORDS]
    assert len({mark.shape for mark in marks}) == len(WORDS)
    assert all(mark.meaning for mark in marks)


@pytest.mark.parametrize("word", ["verified", "reproduced", "withdrawn", "submitted"])
def test_maintainers_give_marks(make, word):
    record = make("a")
    assert trust_mark(record, given(record, word)).word == word


def test_a_record_alone_is_submitted(make):
    assert trust_mark(make("a")).word == "submitted"


def test_verified_needs_pinned_weights(make):
    record = make("a")
    info = record.info.model_copy(update={"weights_sha256": None})
    unpinned = record.model_copy(update={"info": info})
    mark = trust_mark(unpinned, given(record, "verified"))
    assert mark.word == "submitted"
    assert "not pinned" in mark.reason


def test_a_suspect_record_stays_suspect_until_it_is_lifted(make):
    record = make("a", status="suspect")
    assert trust_mark(record, given(record, "verified")).word == "suspect"
    lifted = record.model_copy(update={"status_lifted": "grey-only by design"})
    assert trust_mark(lifted, given(record, "verified")).word == "verified"
    assert not trust_mark(record).ranked


@pytest.mark.parametrize(
    "text",
    ["a: 3", "a: {mark: best, by: M, date: '2026-01-02', reason: w}", "- x", "a: {mark: verified}"],
)
def test_wrong_marks_are_refused_with_the_file(tmp_path, text):
    (tmp_path / "marks.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"marks\.yaml"):
        read_marks(tmp_path)


def test_marks_are_read_from_the_results(tmp_path, make):
    record = make("a")
    line = "{mark: reproduced, by: M, date: '2026-01-02', reason: same within the interval}"
    (tmp_path / "marks.yaml").write_text(f"{record_key(record)}: {line}\n")
    mark = trust_mark(record, read_marks(tmp_path))
    assert mark.word == "reproduced"
    assert mark.reason == "same within the interval (M, 2026-01-02)"
    assert read_marks(tmp_path / "nowhere") == Marks()


@pytest.mark.parametrize(
    ("variant", "track"), [("official", "official"), ("tiny", "controlled"), ("ab12cd34", "own")]
)
def test_tracks(make, variant, track):
    assert track_of(make("a").model_copy(update={"variant": variant})) == track


def test_tracks_are_not_ranked_together_and_each_shows_the_references(make):
    def of(name, variant, psnr):
        return make(name, psnr=psnr).model_copy(update={"variant": variant})

    records = [of("a", "tiny", 20.0), of("b", "official", 30.0), make("jpeg", kind="codec")]
    tracks = by_track(records)
    assert {t: [r.tokenizer for r in rows] for t, rows in tracks.items()} == {
        "official": ["b", "jpeg"],
        "controlled": ["a", "jpeg"],
    }
    page = render(records)
    for name in ("a@tiny", "b@official"):
        row = next(line for line in page.splitlines() if name in line and line.startswith("|"))
        assert row.split("|")[1].strip() == "1"


def test_withdrawn_rows_are_shown_and_not_ranked(make):
    record = make("a")
    page = render([record, make("b", psnr=20.0)], given(record, "withdrawn"))
    rows = [line for line in page.splitlines() if line.startswith("|")]
    ranks = {
        name: next(r for r in rows if name in r).split("|")[1].strip() for name in ("a@v", "b@v")
    }
    assert ranks == {"a@v": "–", "b@v": "1"}
    assert "✕ withdrawn" in page
