from __future__ import annotations

import pytest

from medbench.harness import runner
from medbench.harness.errors import MissingPrerequisite, UsageError


@pytest.fixture(autouse=True)
def unread(monkeypatch):
    """No image is read."""

    def ingest(dataset, **_):
        pytest.fail(f"{dataset.id} is read")

    monkeypatch.setattr(runner, "ingest", ingest)


@pytest.mark.parametrize(
    ("tasks", "options", "error", "words"),
    [
        ("vqa", {"preset": "nano"}, UsageError, "no preset 'nano'"),
        (["recon", "vqa"], {"preset": "nano"}, UsageError, "no preset 'nano'"),
        ("vqa", {"answers": "absent.jsonl"}, UsageError, "absent.jsonl"),
        ("vqa", {"model": "absent"}, UsageError, r"no config\.json"),
        ("vqa", {"preset": "paper"}, MissingPrerequisite, "pubmedvision is not on this machine"),
        ("recon", {"extractor": "absent"}, UsageError, "absent"),
        ("synthesis", {"preset": "absent"}, UsageError, "absent"),
    ],
)
def test_what_a_task_refuses_is_told_before_an_image_is_read(
    tasks, options, error, words, tmp_path
):
    with pytest.raises(error, match=words):
        runner.run("mean", tasks, data_root=tmp_path, output=tmp_path, options=options)
