from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from medbench.harness.errors import UsageError
from medbench.harness.training.config_terms import read_fields


@dataclass(frozen=True)
class Inner:
    name: str
    size: int = 1

    def __post_init__(self) -> None:
        if self.size < 1:
            message = f"an inner part is never of size {self.size}"
            raise UsageError(message)


@dataclass(frozen=True)
class Outer:
    rate: float
    count: int = 2
    flag: bool = False
    kind: Literal["a", "b"] = "a"
    pair: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    limit: int | None = None
    inner: Inner | None = None
    several: tuple[Inner, ...] = ()
    free: Any = None
    options: dict[str, Any] = field(default_factory=dict)


def test_everything_is_read_into_its_place_and_lists_become_tuples() -> None:
    terms = {
        "rate": 0.5,
        "count": 3,
        "flag": True,
        "kind": "b",
        "pair": [0.9, 0.95],
        "names": ["x", "y"],
        "limit": 4,
        "inner": {"name": "one"},
        "several": [{"name": "two", "size": 2}, {"name": "three"}],
        "free": {"any": [1]},
        "options": {"a": [1, 2]},
    }
    expected = Outer(
        rate=0.5,
        count=3,
        flag=True,
        kind="b",
        pair=(0.9, 0.95),
        names=("x", "y"),
        limit=4,
        inner=Inner("one"),
        several=(Inner("two", 2), Inner("three")),
        free={"any": [1]},
        options={"a": [1, 2]},
    )
    assert read_fields(Outer, terms, "outer") == expected


def test_fields_with_defaults_may_be_left_out_and_none_is_kept_where_it_may_be() -> None:
    assert read_fields(Outer, {"rate": 1.0}, "outer") == Outer(1.0)
    assert read_fields(Outer, {"rate": 1.0, "limit": None, "inner": None}, "outer") == Outer(1.0)


def test_a_whole_number_is_a_number() -> None:
    found = read_fields(Outer, {"rate": 2, "pair": [0, 1]}, "outer")
    assert found == Outer(2.0)
    assert isinstance(found.rate, float)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"rate": 1.0, "colour": 3, "size": 1}, "outer has unknown terms: colour, size; known: co"),
        ({"count": 1}, "outer lacks rate"),
        ([1], r"outer must hold count, .* by name, not \[1\]"),
        (None, "outer must hold count"),
        ({"rate": "fast"}, r"outer\.rate: .*not 'fast'"),
        ({"rate": "1"}, r"outer\.rate: .*not '1'"),
        ({"rate": True}, r"outer\.rate: .*not True"),
        ({"rate": None}, r"outer\.rate: .*not None"),
        ({"rate": 1.0, "count": 2.5}, r"outer\.count: .*not 2\.5"),
        ({"rate": 1.0, "flag": 1}, r"outer\.flag: .*not 1"),
        ({"rate": 1.0, "kind": "c"}, r"outer\.kind: .*'a' or 'b'.*not 'c'"),
        ({"rate": 1.0, "pair": [1.0]}, r"outer\.pair: "),
        ({"rate": 1.0, "pair": [1.0, 2.0, 3.0]}, r"outer\.pair: "),
        ({"rate": 1.0, "names": "x"}, r"outer\.names: "),
        ({"rate": 1.0, "limit": "4"}, r"outer\.limit: .*not '4'"),
        ({"rate": 1.0, "inner": {"size": 1}}, r"outer\.inner lacks name"),
        ({"rate": 1.0, "inner": {"name": "x", "y": 1}}, r"outer\.inner has unknown terms: y"),
        (
            {"rate": 1.0, "inner": {"name": "x", "size": 0}},
            r"outer\.inner: an inner part is never of size 0",
        ),
        ({"rate": 1.0, "inner": 3}, r"outer\.inner must hold name, size by name, not 3"),
        ({"rate": 1.0, "several": {"name": "x"}}, r"outer\.several must be a list"),
        ({"rate": 1.0, "several": [{"name": "x"}, {}]}, r"outer\.several\[1\] lacks name"),
        ({"rate": 1.0, "several": [{"name": 5}]}, r"outer\.several\[0\]\.name: .*not 5"),
        ({"rate": 1.0, "options": [1]}, r"outer\.options: "),
        ({"rate": Path("x")}, r"outer\.rate: .* is neither plain data nor"),
    ],
)
def test_what_does_not_fit_is_refused_and_its_place_named(terms, said) -> None:
    with pytest.raises(UsageError, match=said):
        read_fields(Outer, terms, "outer")


@pytest.mark.parametrize("text", ["1e-3", "5E4"])
def test_a_number_that_yaml_reads_as_text_is_explained(text) -> None:
    with pytest.raises(UsageError, match=r"YAML reads 1e-3 as text: write 1\.0e-3"):
        read_fields(Outer, {"rate": text}, "outer")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_refused(value) -> None:
    with pytest.raises(UsageError, match=r"outer\.rate: .*nor a finite number"):
        read_fields(Outer, {"rate": value}, "outer")
