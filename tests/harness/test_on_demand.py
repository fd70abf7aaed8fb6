from __future__ import annotations

import pytest

from medbench.harness.on_demand import OnDemand


class Squares(OnDemand[int]):
    def __len__(self):
        return 6

    def made(self, place):
        assert 0 <= place < len(self)
        return place**2


LIST = [0, 1, 4, 9, 16, 25]


@pytest.mark.parametrize(
    "index", [0, -1, 5, -6, slice(None), slice(1, -1), slice(None, None, -2), slice(4, 99)]
)
def test_places_and_slices_are_those_of_a_list(index):
    assert Squares()[index] == LIST[index]


def test_it_can_be_gone_through_searched_and_reversed():
    assert list(Squares()) == LIST
    assert list(reversed(Squares())) == LIST[::-1]
    assert 16 in Squares()
    assert Squares().index(9) == LIST.index(9)


@pytest.mark.parametrize("index", [6, -7])
def test_a_place_outside_is_an_index_error(index):
    with pytest.raises(IndexError):
        Squares()[index]
