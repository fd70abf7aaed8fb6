"""What meditok@tiny, trained on synthetic images only, does on real ones."""

from __future__ import annotations

import numpy as np
import pytest

from medbench.harness.request import Request
from medbench.harness.runner import execute
from medbench.harness.vocabulary import MACRO


@pytest.mark.slow
def test_meditok_tiny_beats_the_trivial_bound_on_real_images(real_data, tmp_path):
    request = Request(
        tokenizers=["meditok", "down16"],
        dataset=f"folder:{real_data / 'recon'}",
        output=tmp_path / "results",
        limit=20,
    )
    ours, bound = execute(request).records
    assert ours.status == "ok", ours.status_reason
    for name in ("psnr", "ms_ssim"):
        assert ours.metric(name, MACRO).value > bound.metric(name, MACRO).value
        wins = [
            ours.metric(name, group).value > bound.metric(name, group).value
            for group in ours.dataset.groups
        ]
        assert len(wins) == 8
        assert np.sum(wins) >= 7, name
