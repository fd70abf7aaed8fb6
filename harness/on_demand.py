"""Sequences whose elements are made when they are asked for, so that length costs no memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar, overload

T_co = TypeVar("T_co", covariant=True)


class OnDemand(Sequence[T_co], Generic[T_co]):
    """A sequence by its length and the element at each place; a slice is a list."""

    @abstractmethod
    def made(self, place: int) -> T_co:
        """The element at a place in 0 .. len(self) - 1."""

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> list[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | list[T_co]:
        if isinstance(index, slice):
            return [self.made(place) for place in range(*index.indices(len(self)))]
        return self.made(range(len(self))[index])
