"""A sweep's file, and the cells that follow from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medbench.harness.errors import UsageError
from medbench.harness.sweep.cells import cells_of
from medbench.harness.sweep.named import named_specs
from medbench.harness.sweep.spec import SweepSpec, TaskTerms, TokenizerTerms, read_spec


def named(*names: str) -> tuple[TokenizerTerms, ...]:
    return tuple(map(TokenizerTerms, names))


TASK = TaskTerms("recon", ("sample",), limit=1)
SPEC = SweepSpec(named("mean", "down16"), (TASK,), at_a_time=2)


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_what_the_dataclass_says(spec_file):
    assert read_spec(spec_file) == SPEC


def test_a_task_may_be_its_name_alone(tmp_path):
    path = _write(tmp_path / "s.yaml", "tokenizers: [mean]\ntasks: [recon]\n")
    assert read_spec(path).tasks == (TaskTerms("recon"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokenizers: [mean]\n", "lacks tasks"),
        ("tokenizers: []\ntasks: [recon]\n", "the sweep: tokenizers is empty"),
        ("tokenizers: [mean]\ntasks: [recon]\nthread: 2\n", "unknown terms: thread"),
        ("tokenizers: [mean]\ntasks: [{name: recon, seed: 1}]\n", "unknown terms: seed"),
        ("tokenizers: [mean]\ntasks: [recon]\nthreads: 0\n", "at least 1"),
        ("tokenizers: [mean]\ntasks: [recon]\nretries: '1'\n", "retries"),
        ("tokenizers: [mean]\ntasks: [recon]\nbatch_size: 0\n", "batch_size is 0"),
        ("tokenizers: [mean]\ntasks: [recon]\ndevices: [cpu, gpu]\n", "'gpu' is not a device"),
        ("tokenizers: [{weights: a.pt}]\ntasks: [recon]\n", r"tokenizers\[0\] lacks name"),
        ("tokenizers: [{name: '*@tiny', label: a}]\ntasks: [recon]\n", "names many"),
        ("tokenizers: !!python/object/apply:os.system [x]\n", "not a readable sweep"),
        ("- a\n", "must hold"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, text, message):
    path = _write(tmp_path / "s.yaml", text)
    with pytest.raises(UsageError, match=message) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)


def test_the_grid_holds_every_combination_once():
    spec = replace(SPEC, tokenizers=named("mean", "down16", "mean@reference"), seeds=(0, 1, 2))
    cells = cells_of(spec)
    # Reconstruction draws nothing, so seeds make no further cells of it.
    assert [cell.tokenizer for cell in cells] == ["mean@reference", "down16@reference"]
    assert {cell.seed for cell in cells} == {None}
    assert len({cell.key for cell in cells}) == 2


def test_a_star_stands_for_all_that_have_the_variant_ready():
    names = {cell.tokenizer for cell in cells_of(replace(SPEC, tokenizers=named("*@tiny")))}
    assert "meditok@tiny" in names
    assert all(name.endswith("@tiny") for name in names)
    with pytest.raises(UsageError, match="no tokenizer has the variant 'large'"):
        cells_of(replace(SPEC, tokenizers=named("*@large")))


def test_a_checkpoint_is_a_cell_of_its_own(tmp_path):
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(b"a")
    path = _write(
        tmp_path / "s.yaml",
        f"tokenizers: [meditok, {{name: meditok, weights: {weights}, config: {{a: 1}}, label: x}}]"
        "\ntasks: [{name: recon, options: {retention: true, extractor: tf}}]\n"
        f"batch_size: 4\ndata_root: {tmp_path}\n",
    )
    plain, own = cells_of(read_spec(path))
    assert own.key != plain.key
    assert own.title == "meditok (x) · recon on medsynth"
    assert own.choice().full_name == "meditok@x"
    assert own.arguments()[5:] == (
        *("--dataset", "medsynth", "--batch-size", "4", "--data-root", str(tmp_path)),
        *("--weights", str(weights), "--config", '{"a":1}', "--label", "x"),
        *("--extractor", "tf", "--retention"),
    )
    weights.unlink()
    with pytest.raises(UsageError, match="no weights at"):
        cells_of(read_spec(path))


def test_another_precision_is_another_cell(tmp_path):
    text = "tokenizers: [mean]\ntasks: [recon]\nlimit: 1\n"
    (plain,) = cells_of(read_spec(_write(tmp_path / "a.yaml", text)))
    (same,) = cells_of(read_spec(_write(tmp_path / "b.yaml", f"{text}precision: fp32\n")))
    (half,) = cells_of(read_spec(_write(tmp_path / "c.yaml", f"{text}precision: bf16\n")))
    assert plain.key == same.key != half.key
    assert half.arguments()[-2:] == ("--precision", "bf16")
    assert half.request(tmp_path).precision == "bf16"
    with pytest.raises(UsageError, match="precision"):
        read_spec(_write(tmp_path / "d.yaml", f"{text}precision: fp8\n"))


def test_a_flag_that_is_false_is_not_given():
    assert TaskTerms("recon", options={"retention": False}).given == {}
    assert TaskTerms("recon", options={"retention": "yes"}).given == {"retention": "yes"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokenizers": named("meditokk")}, "Did you mean: meditok"),
        ({"tasks": (TaskTerms("recno"),)}, "Did you mean: recon"),
        ({"tasks": (TaskTerms("recon", ("smaple",)),)}, "Did you mean: sample"),
        ({"tasks": (TaskTerms("recon", options={"retenton": True}),)}, "--retenton is not an"),
        ({"tasks": (TaskTerms("recon", options={"preset": "tiny"}),)}, "--preset is not an"),
        ({"tasks": (TaskTerms("synthesis", options={"preset": "tyni"}),)}, "tyni"),
        ({"tasks": (TaskTerms("recon", limit=0),)}, "--limit is 0; it must be at least 1"),
        ({"tasks": (TaskTerms("recon"),), "limit": -3}, "--limit is -3; it must be at least 1"),
        ({"tasks": (TaskTerms("probe", seeds=(0, -1)),)}, "--seed is -1; it must be in 0 to"),
        ({"tasks": (TaskTerms("recon", options={"retention": "maybe"}),)}, "retention is 'maybe'"),
        ({"tasks": (TaskTerms("recon", ("folder:a\0b",)),)}, "holds a null character"),
    ],
)
def test_unknown_names_and_impossible_values_are_refused_before_anything_runs(changed, message):
    with pytest.raises(UsageError, match=message):
        cells_of(replace(SPEC, **changed))


def test_what_is_not_on_this_machine_refuses_its_own_cells_alone(caplog):
    gone = TaskTerms("recon", ("sample", "folder:nowhere"), limit=1)
    assert len(cells_of(replace(SPEC, tasks=(gone,)))) == 4
    assert "nowhere" in caplog.text


def test_named_sweeps_are_valid():
    assert "demo" in named_specs()
    for path in named_specs().values():
        assert cells_of(read_spec(path))
