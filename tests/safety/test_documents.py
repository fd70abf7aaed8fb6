"""YAML and JSON that is hostile, at every door that takes such a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import medbench
from medbench.harness.documents import parse_yaml

DEEP = 100_000

YAML = {
    "object": "!!python/object/apply:os.mkdir ['{marker}']",
    "object, new": "!!python/object/new:os.mkdir ['{marker}']",
    "name": "a: !!python/name:os.mkdir",
    "module": "a: !!python/module:antigravity",
    "tuple": "a: !!python/tuple [1]",
    "nested object": "a: [b, !!python/object/apply:subprocess.run [['mkdir', '{marker}']]]",
    "own tag": "a: !evil x",
    "aliases that multiply": "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    "merges that multiply": "a0: &a0 {x: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)),
    "circle": "a: &a [*a]",
    "circle of mappings": "a: &a {b: *a}",
    "brackets": "[" * DEEP,
    "braces": "{a: " * DEEP,
    "dashes": "- " * DEEP,
    "question marks": "? " * DEEP,
    "indents": "\n".join(" " * n + "a:" for n in range(2_000)),
    "wrong date": "a: 2001-99-99",
    "wrong time": "a: !!timestamp x",
    "wrong truth": "a: !!bool x",
    "wrong number": "a: !!int ''",
    "long number": "a: " + "9" * 5_000,
    "sexagesimal": "a: " + ":".join(["59"] * 5_000),
    "list as key": "? [a]\n: b",
    "control": "a: \x07",
    "two documents": "a: 1\n---\nb: 2\n",
    "cut": "a: [1, {b: ",
    "a number": "1e999",
    "a list": "[1, 2]",
    "a text": "just text",
    "nothing": "",
    "not a number": "a: .nan\nalpha: .nan\nsettings: {steps: .inf}\nrecipe: x",
    "other keys": "1: 2\n2.5: x\nnull: y\ntrue: z\n2001-01-01: d\n",
    "a set": "!!set {a, b}",
    "bytes": "a: !!binary aGVsbG8=",
    "a key twice": "tasks: [recon]\ntokenizers: [mean]\ntasks: [probe]\n",
}
MAY_BE_READ = {"nothing"}
PLACED = {"nothing", "not a number"}
"""Named by the place in the configuration."""

JSON = {
    "brackets": "[" * DEEP,
    "braces": '{"a":' * DEEP,
    "deep and whole": '{"a":' * 900 + "1" + "}" * 900,
    "not a number": '{"a": NaN, "dim": Infinity}',
    "out of range": '{"a": 1e999, "dim": 1e308, "n_layer": -1}',
    "long number": '{"a": ' + "9" * 5_000 + "}",
    "half a pair": '{"a": "\\ud800", "\\udfff": 1}',
    "twice": '{"a": 1, "a": 2}',
    "cut": '{"a": [1, ',
    "a list": "[]",
    "a number": "3",
    "nothing": "",
    "null byte": '{"a": "\x00"}',
    "other encoding": "é".encode("latin-1"),
    "sixteen bits": '{"a": 1}'.encode("utf-16"),
    "unknown keys": '{"a": 1, "__class__": "os.system", "__reduce__": ["os.mkdir", "x"]}',
}


def write(path: Path, content: str | bytes, marker: Path) -> Path:
    if isinstance(content, str):
        content = content.replace("{marker}", str(marker)).encode()
    path.write_bytes(content)
    return path


YAML_COMMANDS = {
    "train": ["train", "FILE", "--output", "OUT"],
    "train --dry-run": ["train", "FILE", "--output", "OUT", "--dry-run"],
    "sweep": ["sweep", "FILE", "--output", "OUT"],
    "gate": ["gate", "--baseline", "RESULTS", "--results", "RESULTS", "--policy", "FILE"],
    "synthesis": [
        *("run", "--tokenizer", "meditok", "--task", "synthesis", "--preset", "FILE"),
        *("--dataset", "sample", "--limit", "1", "--output", "OUT"),
    ],
    "curate": ["data", "curate", "IMAGES", "--out", "OUT", "--thresholds", "FILE"],
}


@pytest.mark.parametrize("door", YAML_COMMANDS)
def test_a_command_that_takes_yaml(tmp_path, attempt, command, marker, image_folder, door):
    (tmp_path / "results").mkdir()
    for case, content in YAML.items():
        path = write(tmp_path / "bad.yaml", content, marker)
        places = {"FILE": path, "OUT": tmp_path / "out", "IMAGES": image_folder}
        places["RESULTS"] = tmp_path / "results"
        words = [places.get(word, word) for word in YAML_COMMANDS[door]]
        attempt(lambda w=words: command(*w), names="" if case in PLACED else path)


def yaml_readers():
    from medbench.harness.curation.thresholds import read_thresholds
    from medbench.harness.datasets.card import read_card
    from medbench.harness.datasets.contamination import read_declaration
    from medbench.harness.model_card import read_model_card
    from medbench.leaderboard.trust import read_marks

    return {
        "model card": read_model_card.__wrapped__,
        "dataset card": read_card,
        "declaration": read_declaration.__wrapped__,
        "thresholds": read_thresholds,
        "marks": lambda path: read_marks(path.parent),
    }


@pytest.mark.parametrize("door", yaml_readers())
def test_a_reader_of_yaml(tmp_path, attempt, marker, door):
    read = yaml_readers()[door]
    for case, content in YAML.items():
        path = write(tmp_path / "marks.yaml", content, marker)
        attempt(lambda p=path: read(p), names=path, refused=case not in MAY_BE_READ)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("tasks: [recon]\nlimit: 2\ntasks: [probe]\n", "line 3: the key 'tasks'"),
        ("a: [{b: {c: 1, d: 2,\n c: 3}}]", "line 2: the key 'c'"),
        ("a: &a {x: 1}\nb: {<<: *a, y: 1, <<: *a}", "line 2: the key '<<'"),
        ("!!set {a, b, a}", "line 1: the key 'a'"),
    ],
)
def test_a_key_that_occurs_twice_is_told_with_its_line(text, where):
    with pytest.raises(ValueError, match=f"^{where} occurs twice in its mapping"):
        parse_yaml(text.encode())


def test_a_key_may_override_a_merged_one():
    text = b"a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: [*b, *a], y: 3}\n1: n\n'1': t\n"
    read = parse_yaml(text)
    assert (read["b"], read["c"]) == ({"x": 2, "y": 1}, {"x": 2, "y": 3})
    assert (read[1], read["1"]) == ("n", "t")


def test_a_huge_yaml_file_is_not_parsed(tmp_path, attempt, command):
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"a: b\n" * (1 << 20))
    attempt(lambda: command("sweep", path), names=path)


JSON_COMMANDS = {
    "--config": [
        *("run", "--tokenizer", "meditok", "--task", "recon", "--config", "FILE"),
        *("--dataset", "sample", "--limit", "1", "--output", "OUT"),
    ],
    "recheck": ["recheck", "FILE"],
    "--answers": ["score", "vqa", "--gold", "GOOD", "--answers", "FILE"],
    "--gold": ["score", "vqa", "--gold", "FILE", "--answers", "GOOD"],
    "--dataset": ["run", "--tokenizer", "mean", "--task", "recon", "--dataset", "jsonl:FILE"],
}


@pytest.mark.parametrize("door", JSON_COMMANDS)
def test_a_command_that_takes_json(tmp_path, attempt, command, marker, door):
    good = {"question_id": "1", "question": "q", "answer": "yes", "answer_type": "CLOSED"}
    (tmp_path / "good.json").write_text(json.dumps(good | {"text": "yes"}))
    for content in JSON.values():
        path = write(tmp_path / "bad.json", content, marker)
        words = [
            word.replace("FILE", str(path))
            .replace("GOOD", str(tmp_path / "good.json"))
            .replace("OUT", str(tmp_path / "out"))
            for word in JSON_COMMANDS[door]
        ]
        attempt(lambda w=words: command(*w), names="" if door == "--config" else path)


def folder_with(name, **others):
    def make(folder: Path, content: str | bytes) -> Path:
        for other, text in others.items():
            (folder / other.replace("__", ".")).write_text(text)
        return write(folder / name, content, folder / "none")

    return make


def json_readers():
    from medbench.harness.training.checkpoint import load_latest
    from medbench.harness.weights import read_state_dict
    from medbench.tasks.synthesis.generator.load import load_generator
    from medbench.tasks.synthesis.generator_facts import read_facts
    from medbench.tasks.vqa.language import load_language
    from medbench.tasks.vqa.saved import load_model

    return {
        "index of shards": (folder_with("model.safetensors.index.json"), read_state_dict),
        "--generator": (
            folder_with("generator.json", weights__safetensors="x"),
            lambda folder: read_facts(folder, {}),
        ),
        "network of a generator": (
            folder_with("c.json"),
            lambda folder: load_generator(config=folder / "c.json", weights=folder / "w.pt"),
        ),
        "--model": (folder_with("vqa.json", config__json="{}"), load_model),
        "language model": (folder_with("config.json"), load_language),
        "tokenizer": (
            folder_with("tokenizer.json", config__json='{"model_type": "mistral"}'),
            load_language,
        ),
        "checkpoint": (folder_with("latest.json"), load_latest),
    }


@pytest.mark.parametrize("door", json_readers())
def test_a_reader_of_json(tmp_path, attempt, door):
    make, read = json_readers()[door]
    for content in JSON.values():
        make(tmp_path, content)
        attempt(lambda: read(tmp_path), names=tmp_path)


def test_code_beside_a_language_model_is_not_run(tmp_path, attempt, marker):
    from medbench.tasks.vqa.language import load_language

    code = f"import os\nos.mkdir({str(marker)!r})\nclass Evil: pass\n"
    for name in ("evil.py", "modeling_evil.py", "tokenization_evil.py", "__init__.py"):
        (tmp_path / name).write_text(code)
    maps = {"AutoModelForCausalLM": "evil.Evil", "AutoTokenizer": ["evil.Evil", None]}
    config = {"model_type": "mistral", "hidden_size": 16, "num_attention_heads": 2}
    config |= {"num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 9, "auto_map": maps}
    config |= {"attn_implementation": "evil/kernel", "tokenizer_class": "Evil"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": maps, "tokenizer_class": "Evil"})
    )
    attempt(lambda: load_language(tmp_path), names=tmp_path)


@pytest.mark.parametrize("content", ["[", "{}", '{"a": 3}', '{"config": {}}', "[" * DEEP])
def test_a_damaged_registered_tokenizer(tmp_path, attempt, monkeypatch, content):
    from medbench.harness.registered import registered_variants

    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    folder = tmp_path / "registered" / "meditok" / "evil"
    folder.mkdir(parents=True)
    (folder / "variant.json").write_text(content)
    attempt(lambda: registered_variants("meditok"), names=folder)


def test_a_pipe_in_place_of_a_document_does_not_hang(tmp_path, attempt, command):
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    results = tmp_path / "recon" / "medsynth" / "a@b"
    results.mkdir(parents=True)
    os.mkfifo(results / "00000001.json")
    record = results / "00000001.json"
    for named, words in (
        (pipe, ["sweep", pipe]),
        (pipe, ["train", pipe, "--output", tmp_path / "out"]),
        (pipe, ["gate", "--baseline", results, "--results", results, "--policy", pipe]),
        (record.name, ["leaderboard", "--results", tmp_path, "--output", tmp_path / "BOARD.md"]),
        (record.name, ["submit", "check", tmp_path]),
        (record.name, ["recheck", record]),
        (pipe, ["score", "vqa", "--gold", pipe, "--answers", pipe]),
        (pipe, ["run", "--tokenizer", "meditok", "--weights", pipe, "--task", "recon"]),
        (pipe, ["run", "--tokenizer", "meditok", "--config", pipe, "--task", "recon"]),
    ):
        attempt(lambda w=words: command(*w), names=named)


def test_a_configuration_of_a_network_that_no_machine_holds(tmp_path, attempt):
    from medbench.tasks.synthesis.generator.load import load_generator

    sane = {"dim": 32, "n_layer": 1, "n_head": 2, "vocab_size": 8}
    huge = ({"vocab_size": 10**13}, {"dim": 2**40}, {"n_layer": 10**9}, {"n_head": 0}, {"dim": -32})
    huge += (
        {"dim": 1e308},
        {"dim": "32"},
        {"dim": None},
        {"n_layer": True},
        {"block_size": 10**12},
    )
    for change in huge:
        attempt(lambda c=change: load_generator(config=sane | c, weights={}), names="")
    for change in ({"img_size": 10**6}, {"num_codebooks": 10**6}, {"vocab_width": 10**9}):
        attempt(lambda c=change: medbench.load_tokenizer("meditok", config=c), names="")
