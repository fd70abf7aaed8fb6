from __future__ import annotations

import pytest

from medbench.harness.entries import TokenizerEntry
from medbench.harness.errors import UsageError
from medbench.harness.registry import by_name, load_dataset, load_target, load_task
from medbench.harness.tokenizer_registry import choose_tokenizer, load_tokenizer, tokenizer_entries


def test_every_target_of_every_entry_resolves():
    for entry in tokenizer_entries().values():
        assert callable(load_target(entry.target)), entry.name


def test_names_resolve_to_their_default_variant():
    assert choose_tokenizer("meditok").full_name == "meditok@tiny"
    assert choose_tokenizer("meditok@official").full_name == "meditok@official"


@pytest.mark.parametrize(
    ("name", "near"),
    [("medtok", "meditok"), ("jpg", "jpeg"), ("down_16", "down16")],
)
def test_an_unknown_name_suggests_the_near_ones(name, near):
    with pytest.raises(UsageError, match=rf"unknown tokenizer '{name}'. Did you mean: .*{near}"):
        choose_tokenizer(name)


def test_an_unknown_variant_suggests_the_near_ones():
    with pytest.raises(UsageError, match="unknown variant of meditok 'tinny'. Did you mean: tiny"):
        choose_tokenizer("meditok@tinny")


@pytest.mark.parametrize("name", ["recn", "Recon"])
def test_an_unknown_task_is_a_usage_error(name):
    with pytest.raises(UsageError, match="unknown task"):
        load_task(name)


def test_an_unknown_dataset_is_a_usage_error():
    with pytest.raises(UsageError, match="unknown dataset 'medsynt'. Did you mean: medsynth"):
        load_dataset("medsynt")


def test_a_codec_takes_its_budget_from_a_number_or_a_tokenizer():
    assert choose_tokenizer("jpeg@12000").config == {"budget_bits": 12000}
    assert choose_tokenizer("jpeg").config == {"budget_bits": 24576}
    assert choose_tokenizer("jpeg").full_name == "jpeg@meditok"
    with pytest.raises(UsageError, match="expected BITS or TOKENIZER"):
        choose_tokenizer("jpeg@-3")


def test_a_name_registered_twice_names_both_origins():
    make = lambda origin: TokenizerEntry("x", "a:b", "discrete", "d", "", origin=origin)  # noqa: E731
    with pytest.raises(UsageError, match=r"'x' is registered twice: by 'one' and by 'two'"):
        by_name("tokenizer", [make("one"), make("two")])


def test_a_factory_can_be_named_directly():
    choice = choose_tokenizer("medbench.baselines.bounds:build_mean")
    assert choice.entry.target == "medbench.baselines.bounds:build_mean"
    assert load_tokenizer("medbench.baselines.bounds:build_mean").info.kind == "bound"


@pytest.mark.parametrize("name", ["no_such_package.x:build", "medbench.baselines.bounds:no_such"])
def test_a_factory_that_is_not_there_is_a_usage_error(name):
    with pytest.raises(UsageError, match="no module|has no attribute"):
        load_tokenizer(name)


def test_label_needs_weights_or_config_and_must_not_hide_a_variant(tmp_path):
    with pytest.raises(UsageError, match="--label"):
        choose_tokenizer("meditok", label="mine")
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"x")
    assert choose_tokenizer("meditok", weights=weights, label="mine").full_name == "meditok@mine"
    with pytest.raises(UsageError, match="published variant"):
        choose_tokenizer("meditok", weights=weights, label="official")


def test_own_weights_are_labelled_by_their_hash(tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"x")
    assert choose_tokenizer("meditok", weights=weights).variant == "2d711642"


def test_a_state_dict_takes_the_configuration_of_the_variant_that_was_named(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "medbench.baselines.unitok.build", lambda **arguments: seen.update(arguments)
    )
    load_tokenizer("unitok@official-causal", weights={})
    assert seen["config"]["causal"] is True
    load_tokenizer("unitok@official", weights={})
    assert not seen["config"].get("causal")
