from __future__ import annotations

import json
from pathlib import Path

import pytest

from medbench.harness import tokenizer_registry
from medbench.harness.entries import PackagedFile, TokenizerEntry, Variant
from medbench.harness.errors import UsageError
from medbench.harness.file_hashes import file_sha256
from medbench.harness.registered import (
    Registration,
    check_name,
    register_variant,
    registered_variants,
)
from medbench.harness.tokenizer_registry import choose_tokenizer, tokenizer_entries, weights_path

ENTRY = TokenizerEntry(
    name="toy",
    target="toy:build",
    kind="discrete",
    default_variant="tiny",
    summary="a toy",
    variants={"tiny": Variant("published", config={"size": 1})},
)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "root"))
    return tmp_path / "root" / "registered"


@pytest.fixture
def registration(tmp_path) -> Registration:
    path = tmp_path / "made.safetensors"
    path.write_bytes(b"some weights")
    return Registration({"size": 3}, path, 24576.0, {"settings": {"steps": 5}})


def test_a_registered_variant_is_a_copy_with_its_configuration_and_hash(root, registration) -> None:
    assert register_variant(ENTRY, "mine", registration) == "toy@mine"
    registration.weights.write_bytes(b"others")
    variant = registered_variants("toy")["mine"]
    assert variant.config == {"size": 3}
    assert isinstance(variant.weights, PackagedFile)
    assert variant.weights.path.read_bytes() == b"some weights"
    assert variant.weights.sha256 == file_sha256(variant.weights.path)
    kept = json.loads((root / "toy" / "mine" / "variant.json").read_text())
    assert kept["trained"] == {"settings": {"steps": 5}}


def test_variants_are_those_of_the_tokenizer_in_order(root, registration) -> None:
    assert registered_variants("toy") == {}
    for name in ("b", "a"):
        register_variant(ENTRY, name, registration)
    assert list(registered_variants("toy")) == ["a", "b"]
    assert registered_variants("other") == {}


@pytest.mark.parametrize(
    "name", ["", "Mine", "../up", "a/b", ".hidden", "-x", "a b", "a@b", "ü", "x" * 65, "a\n"]
)
def test_a_malformed_name_is_refused(name, root) -> None:
    with pytest.raises(UsageError, match="cannot name a variant"):
        check_name(ENTRY, name)


def test_a_published_name_is_never_redefined(root, registration) -> None:
    with pytest.raises(UsageError, match="toy@tiny is published and stays what it is"):
        register_variant(ENTRY, "tiny", registration)
    assert not root.exists()


def test_a_taken_name_is_refused_and_what_has_it_stays(root, registration) -> None:
    register_variant(ENTRY, "mine", registration)
    registration.weights.write_bytes(b"others")
    with pytest.raises(UsageError, match=r"toy@mine is registered already, in .*toy/mine"):
        register_variant(ENTRY, "mine", registration)
    assert (root / "toy" / "mine" / "weights.safetensors").read_bytes() == b"some weights"


def test_a_registration_that_fails_leaves_no_variant_and_can_be_repeated(
    root, registration, tmp_path
) -> None:
    gone = Registration({}, tmp_path / "absent", None, {})
    with pytest.raises(UsageError, match="cannot register toy@mine"):
        register_variant(ENTRY, "mine", gone)
    assert registered_variants("toy") == {}
    assert register_variant(ENTRY, "mine", registration) == "toy@mine"


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"config": 3, "sha256": "", "bits_per_image": null}']
)
def test_a_damaged_entry_is_named(content, root, registration) -> None:
    register_variant(ENTRY, "mine", registration)
    (root / "toy" / "mine" / "variant.json").write_text(content)
    with pytest.raises(UsageError, match=r"toy/mine/variant\.json cannot be read .* delete"):
        registered_variants("toy")


def test_a_changed_configuration_is_refused(root, registration) -> None:
    register_variant(ENTRY, "mine", registration)
    path = root / "toy" / "mine" / "variant.json"
    path.write_text(path.read_text().replace('"size": 3', '"size": 2'))
    with pytest.raises(UsageError, match=r"variant\.json cannot be read \(damaged"):
        registered_variants("toy")


@pytest.fixture
def fresh_registry(monkeypatch):
    """The registry as another process finds it, after each call."""
    tokenizer_entries.cache_clear()
    yield tokenizer_entries.cache_clear
    monkeypatch.undo()
    tokenizer_entries.cache_clear()


def test_the_registry_knows_registered_variants_beside_the_published(
    root, registration, fresh_registry
) -> None:
    published = tokenizer_entries()["meditok"].variants
    register_variant(tokenizer_entries()["meditok"], "mine", registration)
    fresh_registry()
    variants = tokenizer_entries()["meditok"].variants
    assert list(variants) == [*published, "mine"]
    choice = choose_tokenizer("meditok@mine")
    path = weights_path(choice)
    assert path is not None
    assert path.read_bytes() == b"some weights"
    assert choice.full_name == "meditok@mine"


def test_a_published_variant_hides_one_of_its_name(root, registration, fresh_registry) -> None:
    register_variant(ENTRY, "mine", registration)
    (root / "toy").rename(root / "meditok")
    (root / "meditok" / "mine").rename(root / "meditok" / "tiny")
    fresh_registry()
    assert tokenizer_registry.tokenizer_entries()["meditok"].variants["tiny"].config != {"size": 3}
