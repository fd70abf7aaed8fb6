from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.errors import UsageError
from medbench.harness.statistics.draws import DrawStream, strata_rows


def test_equal_names_give_equal_draws_and_others_do_not():
    def first(*names):
        return tuple(DrawStream(*names).uniform(1, 4)[0])

    assert first("p", "data", "ct") == first("p", "data", "ct")
    others = {first(*n) for n in (("q", "data", "ct"), ("p", "other", "ct"), ("p", "data", "mri"))}
    assert len(others | {first("p", "data", "ct")}) == 4


def test_the_stream_is_the_recorded_one():
    """Published intervals depend on these draws: a change needs a new rule name."""
    drawn = DrawStream("bootstrap-1", "data", "ct").with_replacement(2, 6)
    assert drawn.tolist() == [[3, 1, 4, 2, 3, 5], [0, 3, 1, 5, 2, 1]]


def test_drawing_in_blocks_does_not_change_the_draws():
    whole = DrawStream("p", "data", "ct").with_replacement(7, 5)
    stream = DrawStream("p", "data", "ct")
    blocks = [stream.with_replacement(rows, 5) for rows in (3, 3, 1)]
    np.testing.assert_array_equal(whole, np.concatenate(blocks))


def test_draws_with_replacement_are_uniform():
    drawn = DrawStream("p", "data", "ct").with_replacement(2000, 10)
    assert set(np.unique(drawn)) == set(range(10))
    counts = np.bincount(drawn.ravel())
    assert ((counts - 2000) ** 2 / 2000).sum() < 27.9  # 99.9 % of chi-squared with 9


def test_draws_without_replacement_are_subsets_that_hold_each_row_equally_often():
    drawn = DrawStream("p", "data", "ct").without_replacement(2000, 9, 4)
    assert (np.diff(drawn, axis=1) > 0).all()
    counts = np.bincount(drawn.ravel(), minlength=9)
    assert np.abs(counts / 2000 - 4 / 9).max() < 0.05


def test_rows_of_strata_are_complete_and_ordered():
    rows = strata_rows(["b", "a", "b", "c"])
    assert list(rows) == ["a", "b", "c"]
    assert [r.tolist() for r in rows.values()] == [[1], [0, 2], [3]]


def test_refuses_draws_that_are_not_tied_to_images():
    with pytest.raises(UsageError, match="fingerprint is empty"):
        DrawStream("p", "", "ct")
