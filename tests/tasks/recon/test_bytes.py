"""Between stored bytes and what tokenizers see."""

from __future__ import annotations

import numpy as np
import torch

from medbench.harness.reading import to_tensor
from medbench.tasks.recon.measure import luma, to_bytes


def test_bytes_to_tensor_and_back_is_exact_and_rounds_half_to_even():
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(to_bytes(to_tensor(levels, "cpu")), levels)
    halves = torch.arange(255) + 0.5
    exact = halves[(halves / 255) * 255 == halves]
    assert len(exact) > 50
    rounded = to_bytes((exact / 255).view(1, 1, 1, -1).expand(1, 3, 1, -1))[0, 0, :, 0]
    np.testing.assert_array_equal(rounded, np.rint(exact.numpy()))


def test_luma_is_itu_r_601():
    colours = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]]], dtype=np.uint8)
    assert luma(colours)[0, 0, :, 0].tolist() == [76, 150, 29, 9]
