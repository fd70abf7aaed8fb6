from __future__ import annotations

import pytest
import yaml

from medbench.harness.errors import UsageError
from medbench.harness.training.presets import presets
from medbench.harness.training.run_plan import read_stages


@pytest.fixture
def write(tmp_path):
    def write_file(name: str, content: object):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write_file


BASE = {
    "recipe": "toy",
    "settings": {"steps": 5, "betas": [0.9, 0.95]},
    "plan": {"a": {"b": 1, "c": 2}, "d": [1, 2]},
}


def only(path, change=None) -> dict:
    """The configuration of the one stage."""
    (stage,) = read_stages(path, change)
    return dict(stage.config)


def test_a_file_without_stages_is_one_training(write):
    (stage,) = read_stages(write("base.yaml", BASE))
    assert (stage.name, stage.recipe, stage.config) == ("train", "toy", BASE)


def test_a_configuration_is_a_change_of_the_one_that_it_extends(write):
    write("base.yaml", BASE)
    change = {"extends": "base.yaml", "settings": {"steps": 9}, "plan": {"a": {"c": 3}, "d": [7]}}
    assert only(write("change.yaml", {**change, "model": {"x": 1}})) == {
        "recipe": "toy",
        "settings": {"steps": 9, "betas": [0.9, 0.95]},
        "plan": {"a": {"b": 1, "c": 3}, "d": [7]},
        "model": {"x": 1},
    }


def test_a_configuration_can_be_a_change_of_a_preset_and_of_an_ablations_row(write):
    for name in ("small", "paper/t5-iii", "claims"):
        path = write("change.yaml", {"extends": name, "settings": {"seed": 7}})
        found, base = read_stages(path), presets()[name].stages()
        assert [stage.name for stage in found] == [stage.name for stage in base]
        last = {**base[-1].config, "settings": {**base[-1].config["settings"], "seed": 7}}
        assert found[-1].config == last
    alone = write("run.yaml", {**BASE, "stages": {"one": {"extends": "teacher-micro"}}})
    assert only(alone) == presets()["teacher-micro"].stages()[0].config


def test_a_file_goes_before_a_preset_of_its_name_and_near_names_are_suggested(write):
    write("small", BASE)
    assert only(write("change.yaml", {"extends": "small"})) == BASE
    with pytest.raises(UsageError, match="change.yaml.*unknown training preset 'smal'.*small"):
        read_stages(write("change.yaml", {"extends": "smal"}))


@pytest.mark.parametrize("name", ["x" * 5_000, "x/" * 3_000, "a\0b", ".", "x" * 5_000 + ".yaml"])
def test_a_name_that_no_file_can_have_is_refused_with_the_file_that_says_it(write, name):
    with pytest.raises(UsageError, match="change.yaml"):
        read_stages(write("change.yaml", {"extends": name}))


@pytest.mark.parametrize("text", ["1e-06", "1E-6", "+1e-6", "0.1e-5", "'1e-6'"])
def test_numbers_as_json_writes_them_are_numbers(write, text):
    path = write("run.yaml", f"recipe: toy\nsettings: {{steps: 5, rates: [{text}]}}\n")
    assert only(path)["settings"]["rates"] == [1e-6]


def test_overrides_change_every_stage_that_has_the_section_or_one(write):
    path = write("run.yaml", {**BASE, "stages": {"one": {"settings": {"steps": 7}}, "t.w": {}}})
    overrides = ["settings.steps=9", "t.w.plan.a={c: 5e1}", "t.w.plan.d=null", "t.w.new.x=[a, 1]"]
    one, two = read_stages(path, None, overrides)
    assert one.config == {**BASE, "settings": {**BASE["settings"], "steps": 9}}
    assert two.config == {
        "recipe": "toy",
        "settings": {**BASE["settings"], "steps": 9},
        "plan": {"a": {"b": 1, "c": 50.0}},
        "new": {"x": ["a", 1]},
    }
    (left,) = read_stages(path, None, ["one=null"])
    assert left.name == "t.w"


def test_an_override_can_be_a_length_in_epochs(write):
    path = write("run.yaml", {**BASE, "data": {"epoch_images": 100, "batch_size": 10}})
    (stage,) = read_stages(path, None, ["settings.steps={epochs: 2}", "data.batch_size=20"])
    assert stage.config["settings"]["steps"] == 10


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("settings.steps", "write STAGE.TERM=VALUE"),
        ("settings.steps=", "null takes a term out"),
        ("=3", "write STAGE.TERM=VALUE"),
        ("settings..steps=3", "write STAGE.TERM=VALUE"),
        ("settings.steps=[", "the value is not YAML"),
        ("stpes.x=3", "'stpes' is no stage .one. and no section .*plan, recipe, settings"),
        ("one=3", "a stage is a mapping, or null"),
        ("one=null", "has no stage to train"),
    ],
)
def test_an_override_that_cannot_be_meant_is_refused(write, override, said):
    path = write("run.yaml", {**BASE, "stages": {"one": {}}})
    with pytest.raises(UsageError, match=said):
        read_stages(path, None, [override])


def test_extending_goes_on_and_is_relative_to_the_file_that_says_so(write):
    write("base.yaml", BASE)
    write("inner/middle.yaml", {"extends": "../base.yaml", "model": {"x": 1, "y": 2}})
    last = write("last.yaml", {"extends": "inner/middle.yaml", "model": {"y": 3}})
    assert only(last) == {**BASE, "model": {"x": 1, "y": 3}}


def test_a_mapping_and_a_plain_value_replace_each_other_and_null_takes_a_term_out(write):
    write("base.yaml", {**BASE, "model": "small", "method": {"a": 1}, "other": {"b": 2}})
    change = {"extends": "base.yaml", "model": {"width": 3}, "method": 7, "other": None}
    config = only(write("change.yaml", {**change, "plan": {"a": None}}))
    assert config["model"] == {"width": 3}
    assert config["method"] == 7
    assert "other" not in config
    assert config["plan"] == {"d": [1, 2]}


def test_a_change_from_outside_lies_over_the_file(write):
    path = write("base.yaml", {**BASE, "stages": {"one": {}, "two": {"plan": {"d": [3]}}}})
    (stage,) = read_stages(path, {"plan": {"a": {"b": 9}}, "stages": {"one": None}})
    assert stage.name == "two"
    assert stage.config["plan"] == {"a": {"b": 9, "c": 2}, "d": [3]}


def test_stages_are_changes_of_the_rest_of_the_file_in_the_files_order(write):
    stages = "stages:\n  zeta: {}\n  alpha: {settings: {steps: 7}, plan: null}\n"
    found = read_stages(write("base.yaml", yaml.safe_dump(BASE) + stages))
    assert [stage.name for stage in found] == ["zeta", "alpha"]
    assert found[0].config == BASE
    assert found[1].config == {
        "recipe": "toy",
        "settings": {"steps": 7, "betas": [0.9, 0.95]},
    }


def test_stages_are_overlaid_stage_by_stage_when_files_extend_each_other(write):
    write("base.yaml", {**BASE, "stages": {"one": {"plan": {"d": [3]}}, "two": {}}})
    change = {"extends": "base.yaml", "stages": {"one": {"settings": {"steps": 8}}, "three": {}}}
    found = {s.name: s.config for s in read_stages(write("change.yaml", change))}
    assert list(found) == ["one", "two", "three"]
    assert found["one"]["plan"]["d"] == [3]
    assert found["one"]["settings"]["steps"] == 8
    assert found["two"] == found["three"] == BASE


def test_null_in_a_stage_takes_a_term_out_that_the_stage_and_the_rest_of_the_file_have(write):
    write("base.yaml", {**BASE, "stages": {"one": {"plan": {"d": [3]}}, "two": {}}})
    change = {"extends": "base.yaml", "stages": {"one": {"plan": {"d": None}}}}
    one, two = read_stages(write("change.yaml", change))
    assert (one.name, two.config) == ("one", BASE)
    assert one.config["plan"] == {key: each for key, each in BASE["plan"].items() if key != "d"}


def test_a_stage_that_extends_a_file_of_its_own_shares_nothing_with_the_others(write):
    other = {"recipe": "teacher", "settings": {"steps": 1, "seed": 4}, "words": {"least": 2}}
    write("inner/teacher.yaml", other)
    own = {"extends": "inner/teacher.yaml", "settings": {"steps": 3}}
    first, second = read_stages(write("run.yaml", {**BASE, "stages": {"a": own, "b": {}}}))
    assert first.config == {**other, "settings": {"steps": 3, "seed": 4}}
    assert second.config == BASE


def test_such_a_stage_can_be_changed_by_a_file_that_extends_its_file(write):
    write("teacher.yaml", {"recipe": "teacher", "settings": {"steps": 1}})
    write("run.yaml", {**BASE, "stages": {"a": {"extends": "teacher.yaml"}, "b": {}}})
    change = {"extends": "run.yaml", "plan": {"d": []}, "stages": {"a": {"settings": {"steps": 6}}}}
    first, second = read_stages(write("change.yaml", change))
    assert first.config == {"recipe": "teacher", "settings": {"steps": 6}}
    assert second.config["plan"]["d"] == []


def test_lengths_in_epochs_become_whole_steps_of_a_stages_own_data(write):
    config = {
        "recipe": "toy",
        "settings": {
            "steps": {"epochs": 3},
            "batches_per_step": 2,
            "optimiser": {"warmup_steps": {"epochs": 0.5}},
        },
        "data": {"epoch_images": 1000, "batch_size": 30},
        "list": [{"epochs": 1}],
        "stages": {"one": {}, "two": {"data": {"epoch_images": 120}}},
    }
    first, second = read_stages(write("run.yaml", config))
    # 1000 / 60 is 16 whole steps and some images.
    assert first.config["settings"]["steps"] == 48
    assert first.config["settings"]["optimiser"]["warmup_steps"] == 8
    assert first.config["list"] == [16]
    assert second.config["settings"]["steps"] == 6
    assert second.config["settings"]["optimiser"]["warmup_steps"] == 1


def test_a_length_in_steps_replaces_one_in_epochs(write):
    write("base.yaml", {**BASE, "settings": {"steps": {"epochs": 3}}})
    change = {"extends": "base.yaml", "settings": {"steps": 12}}
    assert only(write("change.yaml", change))["settings"] == {"steps": 12}


@pytest.mark.parametrize(
    ("data", "epochs", "said"),
    [
        ({}, 3, r"train\.settings\.steps is given in epochs: say under data\.epoch_images"),
        ({"epoch_images": 100}, -1, "epochs must be a number of at least 0, not -1"),
        ({"epoch_images": 100}, True, "epochs must be a number of at least 0, not True"),
        ({"epoch_images": 100}, "3", "epochs must be a number of at least 0, not '3'"),
        ({"epoch_images": 100}, float("nan"), "epochs must be a number of at least 0, not nan"),
        ({"epoch_images": 100}, float("inf"), "epochs must be a number of at least 0, not inf"),
        ({"epoch_images": 100, "batch_size": 0}, 3, "batch_size"),
        ({"epoch_images": "many", "batch_size": 2}, 3, "epoch_images"),
    ],
)
def test_epochs_that_have_no_length_are_refused(write, data, epochs, said):
    path = write(
        "run.yaml", {"recipe": "toy", "settings": {"steps": {"epochs": epochs}}, "data": data}
    )
    with pytest.raises(UsageError, match=said):
        read_stages(path)


def test_files_that_extend_each_other_are_refused(write):
    write("a.yaml", {**BASE, "extends": "b.yaml"})
    path = write("b.yaml", {**BASE, "extends": "a.yaml"})
    with pytest.raises(UsageError, match=r"in a circle: .*b\.yaml -> .*a\.yaml -> .*b\.yaml"):
        read_stages(path)
    with pytest.raises(UsageError, match="in a circle"):
        read_stages(write("self.yaml", {**BASE, "extends": "self.yaml"}))
    own = {**BASE, "stages": {"one": {"extends": "stage.yaml"}}}
    with pytest.raises(UsageError, match="in a circle"):
        read_stages(write("stage.yaml", own))


def test_a_missing_base_is_named_with_the_way_to_it(write):
    path = write("change.yaml", {**BASE, "extends": "absent.yaml"})
    with pytest.raises(UsageError, match=r"absent\.yaml.*extended along .*change\.yaml"):
        read_stages(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({**BASE, "extends": ["base.yaml"]}, "extends must be the name of a file"),
        ({**BASE, "extends": ""}, "extends must be the name of a file"),
        ({"extends": "nothing.yaml", "model": {}}, "must hold `recipe`, a name, and `settings`"),
        ({**BASE, "recipe": 3}, "must hold `recipe`, a name, and `settings`"),
        ({**BASE, "settings": 3}, "must hold `recipe`, a name, and `settings`"),
        ({**BASE, "stages": ["one"]}, "stages must hold stages by name"),
        ({**BASE, "stages": {}}, "has no stage to train"),
        ({**BASE, "stages": {"one": 3}}, "must hold mappings by names .* not 'one': 3"),
        ({**BASE, "stages": {"one": {"settings": None}}}, "one must hold `recipe`"),
        ("- a\n- b\n", "must be a YAML mapping"),
        ("a: [", "cannot read the training configuration"),
        (b"\xff\xfe\x00".decode("latin-1"), "cannot read the training configuration|mapping"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(write, content, said):
    write("nothing.yaml", {"plan": {}})
    with pytest.raises(UsageError, match=said):
        read_stages(write("file.yaml", content))


@pytest.mark.parametrize("name", ["../up", "a/b", ".", ""])
def test_a_stage_whose_name_is_no_folder_of_the_run_is_refused(write, name):
    with pytest.raises(UsageError, match="a stage is a folder of the run"):
        read_stages(write("run.yaml", {**BASE, "stages": {name: {}, "two": {}}}))


@pytest.mark.parametrize(
    ("name", "terms", "said"),
    [
        ("stgae1", {"settings": {"steps": 3}}, "'stgae1' is none of what it .* mean stage1?"),
        ("stage_2", {"settings": {"steps": 3}}, "Did you mean stage2?"),
        ("tecaher", None, "Did you mean teacher?"),
        ("other", None, "'other' is none of what it extends"),
    ],
)
def test_a_misspelt_stage_is_no_further_one(write, name, terms, said):
    base = write("base.yaml", {**BASE, "stages": {"teacher": {}, "stage1": {}, "stage2": {}}})
    change = {"extends": "base.yaml", "stages": {name: terms}}
    with pytest.raises(UsageError, match=said):
        read_stages(write("change.yaml", change))
    with pytest.raises(UsageError, match=said):
        read_stages(base, {"stages": {name: terms}})


def test_further_stages_may_have_names_that_go_on_from_those_before(write):
    write("base.yaml", {**BASE, "stages": {"stage1": {}, "stage2": {}}})
    names = ["stage3", "stage1-on", "stage2b", "recon"]
    change = {"extends": "base.yaml", "stages": {name: {} for name in names}}
    found = read_stages(write("change.yaml", change))
    assert {stage.name for stage in found} == {"stage1", "stage2", *names}
