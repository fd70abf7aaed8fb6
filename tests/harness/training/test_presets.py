from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from medbench.harness.errors import UsageError
from medbench.harness.training.config_terms import read_fields
from medbench.harness.training.presets import Preset, find_preset, presets, recipe_module, recipes
from medbench.harness.training.settings import TrainingSettings
from medbench.harness.training.tokenizer_terms import TokenizerTerms, sections
from medbench.tokenizers.meditok_config import MedITokConfig

TABLE_5 = [f"t5-{n}" for n in ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")]
TABLE_S1 = [f"s1-{n}" for n in ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")]
ALONE = {"miniature"}
"""Recipes of teachers, with sections of their own."""


def test_the_presets_of_meditok_and_of_all_baselines_are_there() -> None:
    assert {"paper", "script", "small", "tiny", "micro", "claims", "smoke"} <= set(presets())
    baselines = {"vqgan", "emu3-vq", "medvae", "pumit", "tokenflow", "unitok"}
    assert {f"{name}-tiny" for name in baselines} <= set(presets())


@pytest.mark.parametrize("name", list(presets()))
def test_every_section_of_every_preset_is_accepted(name) -> None:
    for stage in presets()[name].stages():
        assert stage.recipe in recipes()
        assert not {"extends", "stages"} & set(stage.config)
        settings = read_fields(TrainingSettings, stage.config["settings"], "settings")
        assert settings.steps > 0
        if stage.recipe in ALONE:
            continue
        terms = read_fields(TokenizerTerms, sections(stage.config), stage.name)
        assert terms.data.batch_size > 0
        assert (terms.adversarial is None) == (settings.opponent is None)
        assert terms.validation is not None or not settings.validate_every
        if stage.recipe in {"meditok", "unitok"}:
            MedITokConfig.from_mapping(stage.config["model"])


@pytest.mark.parametrize("name", ["paper", "script", "small", "tiny", "smoke", "paper/t5-i"])
def test_presets_that_validate_measure_reconstruction_and_probe_latents(name) -> None:
    for stage in presets()[name].stages():
        if stage.recipe not in ALONE:
            validation = read_fields(TokenizerTerms, sections(stage.config), "").validation
            assert validation is not None
            assert validation.probe is not None
            assert stage.config["settings"]["validate_every"] > 0


@pytest.mark.parametrize("name", list(presets()))
def test_stages_refer_to_earlier_ones_only(name) -> None:
    earlier: set[str] = set()
    for stage in presets()[name].stages():
        alignment = stage.config.get("alignment") or {}
        named = {
            (stage.config.get("start") or {}).get("stage"),
            alignment.get("teacher", {}).get("stage"),
        }
        assert named - {None} <= earlier
        earlier.add(stage.name)


def test_every_row_of_the_papers_ablations_has_its_preset() -> None:
    assert {n.removeprefix("paper/") for n in presets() if "/" in n} == {*TABLE_5, *TABLE_S1}


def row(name: str) -> dict[str, tuple]:
    """Images, target, weight and objective of each stage."""
    found = {}
    for stage in presets()[f"paper/{name}"].stages():
        images = stage.config["data"]["epoch_images"]
        terms = stage.config.get("alignment")
        found[stage.name] = (
            images,
            *((terms["side"], terms["weight"], terms["objective"]) if terms else ()),
        )
    return found


@pytest.mark.parametrize(
    ("name", "stage1", "stage2"),
    [
        ("t5-ii", (800_000, "vision", 0.1, "contrast"), None),
        ("t5-iii", (800_000, "vision", 0.1, "cosine"), None),
        ("t5-v", (800_000, "vision", 0.1, "contrast"), (1_000_000, "text", 1.0, "contrast")),
        ("t5-vi", (1_800_000, "vision", 0.1, "contrast"), None),
        ("t5-ix", (33_400_000, "vision", 0.1, "contrast"), (2_400_000, "text", 1.0, "contrast")),
        ("s1-i", (800_000,), (24_000_000, "text", 1.0, "contrast")),
        ("s1-iv", (800_000, "vision", 1.0, "contrast"), (1_000_000, "text", 1.0, "contrast")),
        ("s1-v", None, (2_400_000, "text", 1.0, "contrast")),
        ("s1-vii", (2_000_000, "vision", 0.1, "contrast"), (2_400_000, "text", 1.0, "contrast")),
    ],
)
def test_rows_of_the_ablations_change_what_the_tables_say(name, stage1, stage2) -> None:
    expected = {"stage1": stage1, "stage2": stage2}
    assert row(name) == {key: value for key, value in expected.items() if value is not None}


def test_rows_with_fewer_images_take_as_many_of_the_list_as_an_epoch_has() -> None:
    lists = {33_400_000: "stage1.csv", 2_400_000: "stage2.csv", 24_000_000: "stage2_unfiltered.csv"}
    for name in (*TABLE_5, *TABLE_S1):
        for stage in presets()[f"paper/{name}"].stages():
            source, images = stage.config["data"]["source"], stage.config["data"]["epoch_images"]
            whole = f"{stage.name}.csv" if "subset" in source else lists[images]
            assert source.get("subset", images) == images, name
            assert source["dataset"] == f"manifest:meditok/{whole}", name


def test_rows_with_another_teacher_or_a_trained_one_say_so() -> None:
    (stage,) = presets()["paper/t5-i"].stages()
    assert stage.config["alignment"]["teacher"] == {"name": "clip"}
    _, stage = presets()["paper/s1-viii"].stages()
    assert stage.config["alignment"]["teacher"] == {"name": "biomedclip", "frozen": False}
    (stage,) = presets()["paper/s1-v"].stages()
    assert "start" not in stage.config


@pytest.mark.parametrize(("first", "second"), [("t5-ii", "t5-iv"), ("t5-ix", "s1-ix")])
def test_rows_that_the_paper_calls_equal_are(first, second) -> None:
    assert presets()[f"paper/{first}"].stages() == presets()[f"paper/{second}"].stages()
    assert presets()["paper/t5-ix"].stages() == presets()["paper"].stages()


def test_all_summaries_are_one_line() -> None:
    for preset in presets().values():
        assert preset.summary
        assert "\n" not in preset.summary


@pytest.mark.parametrize(
    ("wrong", "near"), [("tnyi", "tiny"), ("vqgan-tyni", "vqgan-tiny"), ("paper/t5-xi", "paper/t5")]
)
def test_an_unknown_preset_is_answered_with_near_names(wrong, near) -> None:
    with pytest.raises(UsageError, match=f"Did you mean: .*{near}"):
        find_preset(wrong)


def test_a_file_is_a_preset_of_its_own(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"recipe": "vqgan", "settings": {"steps": 3}}))
    (stage,) = find_preset(str(path)).stages()
    assert stage.config["settings"] == {"steps": 3}
    with pytest.raises(UsageError, match=r"absent\.yaml: there is no such configuration file"):
        find_preset(str(tmp_path / "absent.yaml"))


def test_rows_are_changes_of_the_preset(tmp_path) -> None:
    base, rows = tmp_path / "base.yaml", tmp_path / "rows.yaml"
    base.write_text(yaml.safe_dump({"recipe": "vqgan", "settings": {"steps": 3}, "a": 1}))
    rows.write_text("one: {summary: first, change: {a: null}}\n2: {summary: second}\n")
    found = Preset(base, "all").rows(rows)
    assert [found[name].summary for name in ("one", "2")] == ["first", "second"]
    assert "a" not in found["one"].stages()[0].config
    assert found["2"].stages()[0].config["a"] == 1


def test_every_recipe_can_be_imported_and_those_of_tokenizers_make_a_network() -> None:
    for name in recipes():
        module = recipe_module(name)
        assert callable(module.build)
        assert callable(getattr(module, "make", None)) is (name not in ALONE)


def test_a_recipe_of_a_third_party_is_found_by_its_module(tmp_path, monkeypatch) -> None:
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "party.py").write_text("def build(config, settings, work): return 7\n")
    (tmp_path / "third" / "empty.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert recipe_module("third.party").build({}, None, None) == 7
    with pytest.raises(UsageError, match=r"third\.empty is no recipe: it has no build"):
        recipe_module("third.empty")
    with pytest.raises(UsageError, match=r"'third\.absent' cannot be imported"):
        recipe_module("third.absent")
    with pytest.raises(UsageError, match="Did you mean: meditok"):
        recipe_module("medtok")


def test_listing_presets_needs_no_torch() -> None:
    code = (
        "import sys, medbench.harness.training.cli, medbench.harness.training.presets as p;"
        "[each.stages() for each in p.presets().values()];"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
