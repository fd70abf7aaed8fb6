"""Every tokenizer that is registered keeps the protocol.

Variants that are ready run as they are; published networks in the small configuration of their
reference case, whose weights follow from their keys, because their own files cannot be here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

import medbench
from medbench.harness.conformance import validate
from medbench.harness.listing import listing

BUDGET = "24576"
"""Bits per image of the codecs."""
CASES = {
    "meditok": "meditok",
    "meditok-s1": "meditok",
    "unitok": "unitok",
    "vqgan": "vqgan",
    "tokenflow": "tokenflow",
    "emu3-vq": "emu3vq",
    "pumit": "pumit",
    "pumit-hard": "pumit",
    "medvae": "medvae_1c",
    "medvae-rgb": "medvae_1c",
}
"""Each network and its small reference case."""
QUICK = frozenset({"meditok", "unitok", "pumit", "mean", "down8", "down16", *("jpeg", "webp")})
"""The others are convolutional at full size, or search for their rate: a minute each."""


def _entries() -> list[dict]:
    return [e for e in listing("tokenizers")["tokenizers"] if e["origin"] == "medbench"]


def _ready() -> list[str]:
    """Full names of the variants that run without any file of the user's."""
    found = [v["name"] for e in _entries() for v in e["variants"] if v["state"] == "ready"]
    return found + [f"{e['name']}@{BUDGET}" for e in _entries() if e["kind"] == "codec"]


def _some_slow(names: Collection[str]) -> list[Any]:
    slow = [() if n.partition("@")[0] in QUICK else pytest.mark.slow for n in names]
    return [pytest.param(n, marks=mark) for n, mark in zip(names, slow, strict=True)]


@pytest.mark.parametrize("name", _some_slow(_ready()))
def test_what_is_ready_keeps_the_protocol(name):
    report = validate(medbench.load_tokenizer(name))
    assert report.passed, "\n".join(report.lines())


@pytest.mark.parametrize("name", _some_slow(CASES))
def test_every_network_keeps_the_protocol_in_its_reference_case(name, golden):
    if name not in {entry["name"] for entry in _entries()}:
        pytest.skip(f"{name} is registered when its weights are in the package")
    case = golden(CASES[name])
    report = validate(medbench.load_tokenizer(name, config=case.config, weights=case.weights))
    assert report.passed, "\n".join(report.lines())


def test_no_registered_name_is_left_out():
    tested = {name.partition("@")[0] for name in _ready()} | set(CASES)
    assert {entry["name"] for entry in _entries()} <= tested
