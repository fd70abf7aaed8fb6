from __future__ import annotations

import pytest
import yaml

from medbench.harness.errors import UsageError
from medbench.harness.training.presets import PRESETS, read_config


@pytest.fixture
def write(tmp_path):
    def write_file(name: str, content: object):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write_file


BASE = {
    "settings": {"steps": 5, "betas": [0.9, 0.95]},
    "plan": {"a": {"b": 1, "c": 2}, "d": [1, 2]},
}


def test_a_configuration_is_a_change_of_the_one_that_it_extends(write):
    write("base.yaml", BASE)
    change = {"extends": "base.yaml", "settings": {"steps": 9}, "plan": {"a": {"c": 3}, "d": [7]}}
    config = read_config(write("change.yaml", {**change, "model": {"x": 1}}))
    assert config == {
        "settings": {"steps": 9, "betas": [0.9, 0.95]},
        "plan": {"a": {"b": 1, "c": 3}, "d": [7]},
        "model": {"x": 1},
    }


def test_extending_goes_on_and_is_relative_to_the_file_that_says_so(write):
    write("base.yaml", BASE)
    write("inner/middle.yaml", {"extends": "../base.yaml", "model": {"x": 1, "y": 2}})
    last = write("last.yaml", {"extends": "inner/middle.yaml", "model": {"y": 3}})
    assert read_config(last) == {**BASE, "model": {"x": 1, "y": 3}}


def test_a_mapping_and_a_plain_value_replace_each_other(write):
    write("base.yaml", {**BASE, "model": "small", "method": {"a": 1}})
    change = {"extends": "base.yaml", "model": {"width": 3}, "method": None}
    config = read_config(write("change.yaml", change))
    assert config["model"] == {"width": 3}
    assert config["method"] is None


def test_files_that_extend_each_other_are_refused(write):
    write("a.yaml", {**BASE, "extends": "b.yaml"})
    path = write("b.yaml", {**BASE, "extends": "a.yaml"})
    with pytest.raises(UsageError, match=r"in a circle: .*b\.yaml -> .*a\.yaml -> .*b\.yaml"):
        read_config(path)
    with pytest.raises(UsageError, match="in a circle"):
        read_config(write("self.yaml", {**BASE, "extends": "self.yaml"}))


def test_a_missing_base_is_named_with_the_way_to_it(write):
    path = write("change.yaml", {**BASE, "extends": "absent.yaml"})
    with pytest.raises(UsageError, match=r"absent\.yaml.*extended along .*change\.yaml"):
        read_config(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({**BASE, "extends": ["base.yaml"]}, "extends must be the name of a file"),
        ({**BASE, "extends": ""}, "extends must be the name of a file"),
        ({"extends": "nothing.yaml", "model": {}}, "must be a YAML mapping that holds `settings`"),
        ("- a\n- b\n", "must be a YAML mapping"),
        ("a: [", "cannot read the training configuration"),
        (b"\xff\xfe\x00".decode("latin-1"), "cannot read the training configuration|mapping"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(write, content, said):
    write("nothing.yaml", {"plan": {}})
    with pytest.raises(UsageError, match=said):
        read_config(write("file.yaml", content))


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_can_be_read_and_no_trace_of_extending_is_left(name):
    config = read_config(PRESETS[name].config)
    assert {"settings", "model", "plan"} <= set(config)
    assert "extends" not in config
