from __future__ import annotations

import numpy as np
import pytest
import torch

from medbench.harness.datasets.medsynth.generate import MODALITIES, generate
from medbench.harness.tokenizer_registry import load_tokenizer

BITS = 24_576


@pytest.fixture(scope="module")
def images():
    pixels = np.stack([generate(modality, 0).image for modality in MODALITIES])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_every_modality_fits_the_budget_and_beats_down16(name, images):
    codec, bound = load_tokenizer(f"{name}@{BITS}"), load_tokenizer("down16")
    encoding = codec.encode(images)
    assert max(encoding.bits) <= BITS
    errors = [
        ((tokenizer.decode(code).clamp(0, 1) - images) ** 2).mean(dim=(1, 2, 3))
        for tokenizer, code in ((codec, encoding), (bound, bound.encode(images)))
    ]
    assert (errors[0] < errors[1]).all()
