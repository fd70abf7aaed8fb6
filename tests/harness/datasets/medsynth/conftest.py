"""Samples and descriptions that all tests of medsynth share: rendering is what takes time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from medbench.harness.datasets.medsynth import Description, Sample, describe, generate

Descriptions = Callable[[str, str], list[Description]]
Samples = Callable[[str], list[Sample]]


@cache
def _rendered(modality: str) -> list[Sample]:
    return [generate(modality, index, split="val") for index in range(10)]


@pytest.fixture(scope="session")
def rendered() -> Samples:
    """The first ten samples of a modality's validation split, 256 pixels."""
    return _rendered


@cache
def _described(modality: str, split: str) -> list[Description]:
    return [describe(modality, index, split=split) for index in range(200)]


@pytest.fixture(scope="session")
def described() -> Descriptions:
    """The first two hundred descriptions of a modality's split."""
    return _described
