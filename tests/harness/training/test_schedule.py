from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from medbench.harness.errors import UsageError
from medbench.harness.training.schedule import WarmupDecay

GOLDEN = Path(__file__).parents[2] / "golden" / "train_losses.io.safetensors"


def test_rates_equal_upstreams_cosine_schedule() -> None:
    schedule = WarmupDecay(5e-4, 100, warmup_steps=12.5, start_fraction=0.05, final_fraction=0.1)
    ours = [schedule.rate(step) for step in range(100)]
    np.testing.assert_allclose(ours, load_file(GOLDEN)["lr_cos"], rtol=1e-12)


def test_last_step_has_the_final_fraction_and_later_ones_keep_it() -> None:
    schedule = WarmupDecay(1e-3, 50, warmup_steps=5, final_fraction=0.02)
    assert schedule.rate(0) == 0
    assert schedule.rate(5) == pytest.approx(1e-3)
    assert schedule.rate(49) == pytest.approx(2e-5)
    assert schedule.rate(80) == pytest.approx(2e-5)


def test_a_warmup_as_long_as_the_training_is_refused() -> None:
    with pytest.raises(UsageError, match="shorter than"):
        WarmupDecay(1e-3, 10, warmup_steps=10)
