"""The gate on real records of a real tokenizer, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from medbench.__main__ import invoke

WRAPPER = """
    import dataclasses

    import torch

    from medbench import load_tokenizer

    class Wrapped:
        def __init__(self, noise):
            self.inner, self.noise = load_tokenizer("meditok"), noise
            self.info = dataclasses.replace(self.inner.info, weights_sha256=None)

        def encode(self, images):
            return self.inner.encode(images)

        def decode(self, encoding):
            images = self.inner.decode(encoding)
            if not self.noise:
                return images
            generator = torch.Generator().manual_seed(0)
            return images + self.noise * torch.randn(images.shape[1:], generator=generator)

        def features(self, images):
            return self.inner.features(images)

    def damaged(*, variant, config, weights, device):
        return Wrapped(0.03)

    def sound(*, variant, config, weights, device):
        return Wrapped(0.0)
"""
ABSENT = [
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "open_clip",
    "pytorch_fid",
    "torchmetrics",
    "pytorch_msssim",
    "lpips",
    "sklearn",
    "skimage",
    "medmnist",
    "pydicom",
    "safetensors",
    "huggingface_hub",
    "jinja2",
    "PIL",
]
LIGHT = """
    import sys

    class Absent:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ABSENT:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    ABSENT = set(sys.argv.pop(1).split(","))
    sys.meta_path.insert(0, Absent())
    from medbench.__main__ import invoke
    code = invoke(sys.argv[1:])
    assert "torch" not in sys.modules
    sys.exit(code)
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Folder -> results: the shipped tokenizer, a wrapper around it, and a damaged one."""
    root = tmp_path_factory.mktemp("gate")
    (root / "medbench_wrapped.py").write_text(textwrap.dedent(WRAPPER))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        for name, tokenizer in {
            "baseline": "meditok",
            "sound": "medbench_wrapped:sound",
            "damaged": "medbench_wrapped:damaged",
        }.items():
            options = ["--task", "recon", "--limit", "2", "--output", str(root / name)]
            assert invoke(["run", "--tokenizer", tokenizer, *options]) == 0
    return root


def gate(measured, new, *options):
    folders = ["--baseline", str(measured / "baseline"), "--results", str(measured / new)]
    return invoke(["gate", *folders, *options])


def test_the_undamaged_tokenizer_passes_and_differs_by_zero(measured, capsys):
    assert gate(measured, "sound", "--json") == 0
    (comparison,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert {finding["loss"] for finding in comparison["findings"]} == {0.0}


def test_noise_on_the_decoder_fails_the_gate(measured, capsys, tmp_path):
    junit, summary = tmp_path / "gate.xml", tmp_path / "summary.md"
    options = ["--junit", str(junit), "--summary", str(summary)]
    assert gate(measured, "damaged", *options) == 1
    shown = capsys.readouterr()
    assert "FAILED: worse beyond doubt" in shown.out
    assert "ValidationFailed" in shown.err
    assert "<failure" in junit.read_text()
    assert "medbench gate: failed" in summary.read_text()


def test_the_job_summary_of_github_is_appended_to(measured, tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert gate(measured, "sound") == 0
    assert path.read_text().startswith("before\n## medbench gate: passed")


def test_the_gate_runs_where_torch_and_its_company_are_not_installed(measured):
    folders = ["--baseline", str(measured / "baseline"), "--results", str(measured / "damaged")]
    command = [sys.executable, "-c", textwrap.dedent(LIGHT), ",".join(ABSENT), "gate", *folders]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "FAILED" in result.stdout


def test_what_cannot_be_compared_is_a_usage_error(measured, tmp_path, capsys):
    junit = tmp_path / "gate.xml"
    assert gate(measured, "nowhere", "--junit", str(junit)) == 2
    assert "nowhere" in capsys.readouterr().err
    assert "<error" in junit.read_text()


def test_a_damaged_record_is_not_passed_over(measured, tmp_path, capsys):
    import shutil

    copy = tmp_path / "results"
    shutil.copytree(measured / "sound", copy)
    (record,) = copy.glob("*/*/*/*.json")
    record.write_text(record.read_text()[:1000])
    folders = ["--baseline", str(measured / "baseline"), "--results", str(copy)]
    assert invoke(["gate", *folders]) == 2
    assert record.name in capsys.readouterr().err
