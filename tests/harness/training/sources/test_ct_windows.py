from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from medbench.harness.datasets.images import Window
from medbench.harness.training.sources.ct_windows import OTHERS, USUAL, draw_window, show


def test_windows_occur_as_often_as_published() -> None:
    generator = torch.Generator().manual_seed(0)
    count = 8000
    drawn = Counter(draw_window(generator) for _ in range(count))
    # Half of the time (-1000, 1000), which is also the second of those drawn otherwise.
    expected = {
        (-1000, 2000): 0.10,
        (-1000, 1000): 0.65,
        (-150, 250): 0.15,
        (-1400, 200): 0.075,
        (-500, 1300): 0.025,
    }
    assert {(window.low, window.high) for window in OTHERS} == set(expected)
    for (low, high), share in expected.items():
        spread = (share * (1 - share) / count) ** 0.5
        assert drawn[Window(low, high)] / count == pytest.approx(share, abs=4 * spread)


def test_a_window_is_linear_between_its_ends_and_clips_beyond() -> None:
    values = np.array([[-3000, -150, 50, 250, 4000]], dtype=np.int16)
    np.testing.assert_allclose(show(values, Window(-150, 250)), [[0, 0, 0.5, 1, 1]])


def test_the_usual_window_is_the_readers_before_its_rounding_to_bytes(rng) -> None:
    values = rng.integers(-1500, 1500, (32, 32)).astype(np.int16)
    np.testing.assert_allclose(show(values, USUAL) * 255, USUAL.apply(values), atol=0.5001)
