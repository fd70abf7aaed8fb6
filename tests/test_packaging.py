"""The repository root is the package: nothing may be forgotten, nothing may shadow others."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("harness", "tokenizers", "tasks", "baselines", "leaderboard")


def package_files() -> set[str]:
    """Every file that the installed package needs, relative to the root."""
    files = {"__init__.py", "__main__.py", "py.typed"}
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                files.add(path.relative_to(ROOT).as_posix())
    return files


def test_every_folder_with_modules_is_a_listed_package():
    listed = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    found = {"medbench"} | {
        "medbench." + Path(name).parent.as_posix().replace("/", ".")
        for name in package_files()
        if name.endswith(".py") and "/" in name
    }
    assert found == listed


def test_the_wheel_holds_every_module_and_data_file(tmp_path):
    # A copy, because building leaves files beside the sources that a later build would take up.
    source = tmp_path / "source"
    for name in ["pyproject.toml", "README.md", "LICENSE", *package_files()]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    options = ["--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    command = [sys.executable, "-m", "build", *options, str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = zipfile.ZipFile(wheel).namelist()
    names = {name.removeprefix("medbench/") for name in held if name.startswith("medbench/")}
    assert names == package_files()


def test_tokenizers_has_no_init_so_that_hugging_faces_package_is_found():
    assert not (ROOT / "tokenizers" / "__init__.py").exists()
    code = "import tokenizers; tokenizers.Tokenizer; print(tokenizers.__file__)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not Path(result.stdout.strip()).is_relative_to(ROOT / "tokenizers")
    spec = importlib.util.find_spec("tokenizers")
    assert spec is not None
    assert spec.origin is not None


def test_import_is_lazy_and_unknown_names_are_attribute_errors():
    code = "import medbench, sys; assert 'torch' not in sys.modules; medbench.nothing"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "AttributeError: module 'medbench' has no attribute 'nothing'" in result.stderr


def test_every_public_name_resolves():
    import medbench

    for name in medbench.__all__:
        assert getattr(medbench, name) is not None


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["doctor"], ["run", "--help"]])
def test_light_verbs_import_no_torch(arguments, tmp_path):
    code = (
        "import sys; from medbench.__main__ import invoke; code = invoke(sys.argv[1:]); "
        "assert 'torch' not in sys.modules, 'torch was imported'; sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_imports_point_one_way():
    import ast

    order = {"harness": 0, "tokenizers": 1, "baselines": 2, "tasks": 3, "leaderboard": 4}
    wrong = []
    for name in sorted(n for n in package_files() if n.endswith(".py") and "/" in n):
        top, depth = name.split("/")[0], name.count("/")
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == depth + 1 and node.module:
                target = node.module.split(".")[0]
                if order.get(target, 0) > order[top]:
                    wrong.append(f"{name}:{node.lineno} imports {target}")
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("medbench"):
                wrong.append(f"{name}:{node.lineno} imports absolutely")
    assert wrong == []
