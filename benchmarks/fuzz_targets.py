"""Every parser of files that may come from strangers, each with small valid files to begin from.

Used by `benchmarks/fuzz.py` and by the tests in `tests/safety`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fuzz_seeds import arrays, checkpoints, dicoms, images, shards, tables, tensors, volumes

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        filename: that it is given.
        seeds: valid contents.
        read: of a file with any content; may raise nothing but a MedbenchError that names it.
    """

    filename: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], Any]


def _files(*patterns: str) -> Callable[[], list[bytes]]:
    return lambda: [
        path.read_bytes() for pattern in patterns for path in sorted(ROOT.glob(pattern))[:4]
    ]


def _texts(*texts: str) -> Callable[[], list[bytes]]:
    return lambda: [text.encode() for text in texts]


def _load(reference: str) -> Callable[[Path], None]:
    """A data set through the door that a user has; items that fail say why."""

    def read(path: Path) -> None:
        import medbench
        from medbench.harness.errors import MedbenchError

        for item in medbench.load_dataset(reference.format(path)).items()[:4]:
            item.content_key()
            try:
                item.load().square(32)
                if item.load_mask is not None:
                    item.load_mask()
            except MedbenchError as error:
                # A row may point anywhere; then the file that it points to is named.
                if str(path.parent) not in str(error) and "/dev/zero" not in str(error):
                    message = f"the file is not named: {error}"
                    raise AssertionError(message) from error

    return read


def _call(name: str, attribute: str, *, of: Callable[[Path], Any] = lambda path: path) -> Any:
    """A function by name, imported when it is first used, without what it remembers."""

    @cache
    def found() -> Any:
        from medbench.harness.registry import load_target

        target = load_target(f"medbench.{name}:{attribute}")
        return getattr(target, "__wrapped__", target)

    return lambda path: found()(of(path))


def _sharded(path: Path) -> None:
    """The index of a checkpoint beside its one shard."""
    from medbench.harness.weights import read_state_dict

    (path.parent / "model.safetensors").write_bytes(tensors()[0])
    read_state_dict(path)


def _scored(path: Path) -> None:
    """Whatever the answers are, every question counts."""
    from medbench.harness.errors import UsageError
    from medbench.tasks.vqa.scoring.jsonl_files import read_answers, read_references
    from medbench.tasks.vqa.scoring.report import report

    asked = read_references(path)
    answers = {each.question.id: each.question.question for each in asked}
    found = report(asked, answers)
    if len(found.verdicts) != len(asked):
        message = "the denominator changed"
        raise AssertionError(message)
    try:
        read_answers(path)
    except UsageError as error:
        if path.name not in str(error):
            message = f"the file is not named: {error}"
            raise AssertionError(message) from error


_ROWS = (
    '{"path": "a.png", "modality": "ct", "label": 1, "window_low": 0, "window_high": 9}\n'
    '{"identifier": "b.png", "modality": "x-ray", "mask": "m.png", "bias": 3}\n'
)
_QUESTIONS = (
    '{"question_id": "1", "question": "Is it?", "answer": "yes", "answer_type": "CLOSED", '
    '"text": "no"}\n{"question_id": 2, "question": "Where?", "answer": "left lung", '
    '"answer_type": "OPEN", "modality": "ct", "question_type": "place", "text": ""}\n'
)
_INDEX = json.dumps({"weight_map": dict.fromkeys(["model.w", "model.h"], "model.safetensors")})
_SWEEP = "tokenizers: [meditok, jpeg]\ntasks: [recon, {name: probe, limit: 3}]\nseeds: [0, 1]\n"
_ATTEMPTS = (
    '{"key": "0a", "verdict": "done", "seconds": 1.5, "tries": 1, "reason": "", "record": '
    '"recon/sample/a@b/c.json", "status": "ok"}\n'
    '{"key": "0b", "verdict": "failed", "seconds": 2, "tries": 2, "reason": "why"}\n'
)
_PRESET = "extends: tiny\nsummary: mine\nsamples: 20\nsampling: {temperature: 1.0}\n"
_GATE = "alpha: 0.01\nmetrics: [psnr, ssim]\ngroups: overall\nminimum_effect: {psnr: 0.1}\n"
_MARKS = "a/b/c@d/00000000: {mark: verified, by: A, date: '2026-01-01', reason: r}\n"
_TRAINING = "recipe: r\nsettings: {steps: 3}\ndata: {epoch_images: 9}\nstages: {a: {}, b: {x: 1}}\n"

TARGETS: dict[str, Target] = {
    "records": Target(
        "r.json", _files("tests/records/*.json"), _call("harness.record_files", "load_record")
    ),
    "model-cards": Target(
        "c.yaml",
        _files("baselines/cards/*.yaml", "tokenizers/cards/*.yaml"),
        _call("harness.model_card", "read_model_card"),
    ),
    "dataset-cards": Target(
        "c.yaml",
        _files("harness/datasets/cards/*.yaml"),
        _call("harness.datasets.card", "read_card"),
    ),
    "declarations": Target(
        "d.yaml",
        _files("tokenizers/declarations/*.yaml"),
        _call("harness.datasets.contamination", "read_declaration"),
    ),
    "thresholds": Target(
        "t.yaml",
        _files("harness/curation/thresholds.yaml"),
        _call("harness.curation.thresholds", "read_thresholds"),
    ),
    "gate": Target("g.yaml", _texts(_GATE), _call("leaderboard.gate.policy", "read_policy")),
    "marks": Target(
        "marks.yaml",
        _texts(_MARKS),
        _call("leaderboard.trust", "read_marks", of=lambda path: path.parent),
    ),
    "sweeps": Target("s.yaml", _texts(_SWEEP), _call("harness.sweep.spec", "read_spec")),
    "attempts": Target(
        "attempts.jsonl", _texts(_ATTEMPTS), _call("harness.sweep.state", "read_attempts")
    ),
    "training": Target(
        "t.yaml",
        lambda: [*_texts(_TRAINING)(), *_files("tokenizers/recipes/*.yaml")()],
        _call("harness.training.run_plan", "read_stages"),
    ),
    "presets": Target(
        "p.yaml", _texts(_PRESET), _call("tasks.synthesis.presets", "find_preset", of=str)
    ),
    "configs": Target(
        "c.json", _texts('{"a": 1, "b": [1, 2]}'), _call("harness.inputs", "read_config")
    ),
    "jsonl": Target(
        "l.jsonl", _texts(_ROWS, f"[{','.join(_ROWS.splitlines())}]"), _load("jsonl:{}")
    ),
    "csv": Target(
        "m.csv",
        _texts("path,modality,label,mask\na.png,ct,1,\nb.png,mri,2,m.png\n"),
        _load("manifest:{}"),
    ),
    "parquet": Target("m.parquet", tables, _load("manifest:{}")),
    "npz": Target("a.npz", arrays, _load("npz@ct:{}")),
    "tar": Target("s.tar", shards, _load("wds@ct:{}")),
    "images": Target("i.png", images, _call("harness.datasets.images", "decode_file")),
    "dicom": Target("d.dcm", dicoms, _load("dicom:{}")),
    "nifti": Target("v.nii", volumes, _load("nifti@ct:{}")),
    "nifti-gz": Target(
        "v.nii.gz", lambda: [gzip.compress(each) for each in volumes()], _load("nifti@ct:{}")
    ),
    "torch": Target("w.pth", checkpoints, _call("harness.weights", "read_state_dict")),
    "safetensors": Target("w.safetensors", tensors, _call("harness.weights", "read_state_dict")),
    "indices": Target("m.index.json", _texts(_INDEX), _sharded),
    "answers": Target("a.jsonl", _texts(_QUESTIONS), _scored),
}
