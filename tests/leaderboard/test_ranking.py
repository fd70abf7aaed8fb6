from __future__ import annotations

import pytest

from medbench.leaderboard.markdown import render
from medbench.leaderboard.ranking import RankRange, rank_ranges, unpinned_notes


def by_name(records, metric="psnr"):
    ranges = rank_ranges(records, metric)
    return {r.full_name: found for r, found in zip(records, ranges, strict=True) if found}


def test_clear_differences_give_single_ranks(make):
    ranges = by_name([make("a", psnr=30.0), make("b", psnr=28.0), make("c", psnr=26.0)])
    assert {k: str(v) for k, v in ranges.items()} == {"a@v": "1", "b@v": "2", "c@v": "3"}


def test_pairing_resolves_what_overlapping_intervals_do_not(make):
    ranges = by_name([make("a", psnr=30.05, spread=1.0), make("b", psnr=30.0, spread=1.0)])
    assert str(ranges["a@v"]) == "1"


def test_equal_values_share_the_better_rank(make):
    ranges = by_name([make("a"), make("b"), make("c", psnr=20.0)])
    assert ranges["a@v"] == ranges["b@v"] == RankRange(1, 1)
    assert ranges["c@v"] == RankRange(3, 3)


@pytest.mark.parametrize(
    "fields", [{"kind": "codec"}, {"kind": "bound"}, {"status": "suspect"}, {"status": "partial"}]
)
def test_references_and_rows_that_are_not_ok_are_not_ranked(make, fields):
    ranges = by_name([make("a"), make("b", psnr=50.0, **fields)])
    assert set(ranges) == {"a@v"}
    assert str(ranges["a@v"]) == "1"


def test_a_tokenizer_without_pinned_weights_is_not_ranked_and_that_is_said(make):
    pinned, loose, jpeg = make("a"), make("b", psnr=50.0), make("jpeg", kind="codec")
    loose, jpeg = (
        record.model_copy(update={"info": record.info.model_copy(update={"weights_sha256": None})})
        for record in (loose, jpeg)
    )
    assert set(by_name([pinned, loose])) == {"a@v"}
    (note,) = unpinned_notes([pinned, loose, jpeg])
    assert note.startswith("b@v: not ranked")
    assert "b@v: not ranked" in render([pinned, loose, jpeg])


def test_no_replicates_no_ranks(make):
    assert rank_ranges([make("a")], "ssim_u7") == [None]
    assert rank_ranges([], "psnr") == []


def test_two_records_of_one_name_have_a_rank_each(make):
    ranges = rank_ranges([make("a", psnr=26.0), make("b", psnr=28.0), make("a", psnr=30.0)], "psnr")
    assert list(map(str, ranges)) == ["3", "2", "1"]
