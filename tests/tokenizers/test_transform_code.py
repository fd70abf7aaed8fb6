from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from medbench.harness.errors import UsageError
from medbench.tokenizers.meditok_config import MedITokConfig
from medbench.tokenizers.meditok_recipe import TrainableMedITok
from medbench.tokenizers.transform_code import PatchTransform, TransformCode, _basis


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand((2, 3, 32, 48), generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_coefficients_are_scipys_cosine_transform_of_each_patch(images):
    kernels, _ = _basis(9, 16, 3)
    ours = torch.nn.functional.conv2d(images, kernels, stride=16)[0, 0].numpy()
    grey = images[0].sum(dim=0).numpy() * 0.577
    for row in range(2):
        for column in range(3):
            patch = grey[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            assert ours[row, column] == pytest.approx(dctn(patch, norm="ortho")[0, 0], abs=1e-5)


def test_the_functions_are_orthonormal_and_those_of_low_frequency():
    kernels, spreads = _basis(40, 16, 3)
    gram = kernels.flatten(1) @ kernels.flatten(1).T
    assert torch.allclose(gram, torch.eye(40), atol=2e-3)  # the colour axes have three digits
    assert (spreads.diff() <= 0).all()
    brightness = [k for k in kernels.numpy() if np.allclose(k[0], k[1])]
    wave = dctn(brightness[1][0], norm="ortho")
    assert np.abs(wave).argmax() in (1, 16)
    assert np.allclose(idctn(wave, norm="ortho"), brightness[1][0], atol=1e-6)


@pytest.mark.parametrize(("side", "channels"), [(8, 3), (16, 1), (4, 3)])
def test_a_complete_set_of_coefficients_gives_the_image_back(images, side, channels):
    shown = images[:, :channels]
    count = channels * side**2
    transform = PatchTransform(count, side, channels=channels)
    coefficients = transform(shown)
    assert coefficients.shape == (2, count, 32 // side, 48 // side)
    kernels = transform.weight / transform.weight.flatten(1).norm(dim=1)[:, None, None, None]
    scale = transform.weight.flatten(1).norm(dim=1)[None, :, None, None]
    back = torch.nn.functional.conv_transpose2d(coefficients / scale, kernels, stride=side)
    assert torch.allclose(back, shown, atol=5e-3)  # the colour axes have three digits


def test_a_code_of_more_dimensions_than_a_patch_has_is_refused():
    with pytest.raises(UsageError, match="4 pixels has 48 coefficients, a code of 49"):
        PatchTransform(49, 4)


def test_every_patch_becomes_unit_vectors_from_which_its_mean_can_be_told(images):
    code = TransformCode(chunks=4, width=8)
    vectors = code(images)
    assert vectors.shape == (2, 6, 4, 8)
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(2, 6, 4), atol=1e-6)
    levels = torch.linspace(-1, 1, 5)
    flat = code(levels[:, None, None, None].expand(5, 3, 16, 16))
    means = flat[:, 0, 0, 0] / flat[:, 0, 0, -1]
    assert torch.allclose(means, levels * 3 * 0.577, atol=1e-3)


def test_the_first_phase_teaches_encoder_and_decoder_and_needs_no_codebook(images):
    sizes = {
        "model": "m",
        "img_size": 32,
        "embed_dim": 16,
        "vocab_size": 64,
        "vocab_width": 16,
        "num_codebooks": 2,
        "quant_proj": "attn",
        "variant": {
            "stem_width": 4,
            "stage_dims": [4, 8, 16],
            "stage_depths": [1, 1],
            "depth": 1,
            "embed_dim": 16,
            "num_heads": 2,
            "mlp_ratio": 2.0,
            "decoder_dims": [16, 8, 4],
            "decoder_depths": [1, 1],
        },
    }
    config = MedITokConfig.from_mapping(sizes)
    code = TransformCode(config.num_codebooks, config.code_width)
    trainable = TrainableMedITok(config, seed=0, first_code=code)
    square = images[..., :32]
    found = trainable.reconstruct(square, quantise=False, generator=torch.Generator())
    assert found.indices is None
    (found.terms["first_code"] + (found.images - square).square().mean()).backward()
    learning = {name for name, p in trainable.network.named_parameters() if p.grad is not None}
    for part in ("encoder", "quant_proj", "post_quant_proj", "decoder"):
        assert any(name.startswith(part) for name in learning), part
    assert not any(name.startswith("quantizer") for name in learning)
    trainable.network.eval()
    looked_at = trainable.reconstruct(square, quantise=False, generator=torch.Generator())
    assert "first_code" not in looked_at.terms
