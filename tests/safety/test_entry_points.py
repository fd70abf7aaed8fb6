"""Packages whose entry points raise, exit or are something else: told; nothing else is lost."""

from __future__ import annotations

import json

import pytest

from medbench.__main__ import invoke
from medbench.harness import registry, tokenizer_registry
from medbench.harness.errors import ExitCode
from medbench.harness.registry import load_dataset, load_task
from medbench.harness.tokenizer_registry import load_tokenizer

MODULES = {
    "raises": "raise RuntimeError('on import')\nbuild = None\n",
    "exits": "import sys\nsys.exit(3)\n",
    "syntax": "def build(:\n",
    "missing": "import a_module_that_nobody_has\nbuild = None\n",
    "recursion": "def build(**_): return build()\nbuild()\n",
    "attribute": "import os\nos.a_name_that_nobody_has\n",
    "circle": "from medbench_evil_circle import build\n",
    "no_attribute": "other = 1\n",
    "none": "build = None\n",
    "number": "build = 3\n",
    "factory_raises": "def build(*_, **__): raise ValueError('in the factory')\n",
    "factory_exits": "import sys\ndef build(*_, **__): sys.exit(0)\n",
    "factory_none": "def build(*_, **__): return None\n",
    "factory_signature": "def build(): return 1\n",
    "getattr": "def __getattr__(name): raise OSError(name)\n",
}
NOT_ON_IMPORT = {name for name in MODULES if name.startswith(("factory", "none", "number"))}


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Every module registered as a tokenizer, a task and a data set, as by one package each."""
    for name, code in MODULES.items():
        (tmp_path / f"medbench_evil_{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))

    def found(group):
        names = sorted(MODULES)
        found = [(f"evil-{n}", f"medbench_evil_{n}:build", f"package-{n}") for n in names]
        return [*found, ("evil-form", "no target at all", "package-form")]

    for module in (registry, tokenizer_registry):
        monkeypatch.setattr(module, "plugins", found)
    monkeypatch.setattr("medbench.harness.doctor.plugins", found)
    caches = (
        registry.task_entries,
        registry.dataset_entries,
        tokenizer_registry.tokenizer_entries,
    )
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


@pytest.mark.parametrize("name", [*MODULES, "form"])
def test_using_it_is_refused_by_name(plugins, attempt, name):
    attempt(lambda: load_tokenizer(f"evil-{name}"), names=f"evil_{name}" if name != "form" else "")
    attempt(lambda: load_task(f"evil-{name}"), names=f"evil_{name}" if name != "form" else "")
    may_be_read = name == "factory_none"  # what comes of it is the reader's to judge
    attempt(lambda: load_dataset(f"evil-{name}"), names="", refused=not may_be_read)


def test_listing_shows_all_and_fails_for_none(plugins, capsys):
    assert invoke(["list", "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    names = {entry["name"] for entry in shown["tokenizers"]}
    assert {f"evil-{name}" for name in MODULES} | {"meditok", "jpeg"} <= names


def test_the_doctor_names_the_broken_ones_and_their_packages(plugins, capsys):
    assert invoke(["doctor", "--json"]) == ExitCode.OK
    findings = json.loads(capsys.readouterr().out)["findings"]
    state = {f["name"]: f for f in findings if f["area"] == "plugins"}
    for name in {*MODULES, "form"}:
        for kind in ("tokenizer", "task", "dataset"):
            found = state[f"{kind} evil-{name}"]
            assert found["state"] == ("ok" if name in NOT_ON_IMPORT else "broken"), found
            assert f"package-{name}" in found["detail"] + found["remedy"]


def test_other_tokenizers_of_the_same_command_are_measured(plugins, tmp_path, capsys):
    words = ["run", "--task", "recon", "--dataset", "sample", "--limit", "1", "--json"]
    for name in ("evil-raises", "mean", "evil-factory_raises", "evil-factory_exits"):
        words += ["--tokenizer", name]
    code = invoke([*words, "--output", str(tmp_path / "results")])
    shown = capsys.readouterr()
    assert code in {ExitCode.CELLS_FAILED, ExitCode.USAGE}
    assert [record["tokenizer"] for record in json.loads(shown.out)] == ["mean"]
    for name in ("evil-raises", "evil-factory_raises", "evil-factory_exits"):
        assert f"{name}@default / recon" in shown.err
