from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medbench.baselines.tokenflow_quantizer import SharedQuantizer
from medbench.baselines.tokenflow_transformers import resize_positions

CLOSE = {"rtol": 1e-4, "atol": 2e-6}


@pytest.fixture
def case(golden):
    example = golden("quantizer_tokenflow")
    config = example.config
    quantizer = SharedQuantizer(
        config["n_e"],
        tuple(config["split"]),
        beta=config["beta"],
        entropy_ratio=config["entropy_loss_ratio"],
    )
    quantizer.load_state_dict(example.weights)
    return quantizer, example.outputs


def test_codes_and_losses_are_upstreams(case):
    quantizer, expected = case
    found = quantizer(expected["z"])
    assert torch.equal(found.indices, expected["indices"])
    torch.testing.assert_close(found.zq, expected["z_q"], **CLOSE)
    for name in ("vq_loss", "commit_loss", "entropy_loss"):
        torch.testing.assert_close(getattr(found, name), expected[name][0], **CLOSE)


def test_gradients_are_upstreams(case):
    quantizer, expected = case
    z = expected["z"].clone().requires_grad_()
    found = quantizer(z)
    total = (found.zq * expected["cotangent"]).sum() + 3 * found.vq_loss
    (total + 2 * found.commit_loss + 0.5 * found.entropy_loss).backward()
    torch.testing.assert_close(z.grad, expected["grad_z"], **CLOSE)
    for name in ("embedding_vqkd", "embedding_vqgan"):
        gradient = getattr(quantizer, name).weight.grad
        torch.testing.assert_close(gradient, expected[f"grad_{name}"], **CLOSE)


def test_one_scale_takes_the_code_with_the_least_sum_of_two_distances():
    torch.manual_seed(0)
    quantizer = SharedQuantizer(70, (3, 5)).double()
    z = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    found = quantizer.encode_scales(z, [4])
    distances = 0
    for half, book in zip(
        z.permute(0, 2, 3, 1).reshape(2, 16, 8).split((3, 5), dim=2),
        (quantizer.embedding_vqkd, quantizer.embedding_vqgan),
        strict=True,
    ):
        unit, codes = F.normalize(half, dim=2), F.normalize(book.weight, dim=1)
        distances = distances + (unit[:, :, None] - codes).square().sum(3)
    assert torch.equal(found.indices, distances.argmin(2))


def test_later_scales_quantise_what_earlier_ones_left():
    torch.manual_seed(1)
    quantizer = SharedQuantizer(70, (3, 5))
    z = torch.randn(2, 8, 4, 4)
    scales = (1, 2, 4)
    found = quantizer.encode_scales(z, scales)
    assert found.indices.shape == (2, 21)
    coarse = quantizer.unit_codes()[found.indices[:, 0]][:, :, None, None].expand_as(z)
    middle = quantizer.unit_codes()[found.indices[:, 1:5]].transpose(1, 2).unflatten(2, (2, 2))
    left = z - coarse - F.interpolate(middle, size=(4, 4), mode="bicubic")
    assert torch.equal(found.indices[:, 5:], quantizer.encode_scales(left, [4]).indices)
    assert torch.equal(found.zq, quantizer.look_up_scales(found.indices, scales))


@pytest.mark.parametrize(("stored", "grid"), [(4, 5), (5, 4), (14, 16), (3, 9)])
def test_position_tables_are_resampled_at_the_factors_points(stored, grid):
    table = torch.randn(1 + stored**2, 3, generator=torch.Generator().manual_seed(grid)).double()
    found = resize_positions(table, grid)
    assert torch.equal(found[0], table[0])
    step = stored / (grid + 0.1)
    points = (torch.arange(grid, dtype=torch.float64) + 0.5) * step - 0.5
    weights = torch.zeros(grid, stored, dtype=torch.float64)
    for row, point in enumerate(points):
        for tap in range(-1, 3):
            cell = int(point.floor()) + tap
            apart = (point - cell).abs()
            near = 1.25 * apart**3 - 2.25 * apart**2 + 1
            far = -0.75 * (apart**3 - 5 * apart**2 + 8 * apart - 4)
            weights[row, min(max(cell, 0), stored - 1)] += near if apart <= 1 else far
    cells = table[1:].unflatten(0, (stored, stored))
    expected = torch.einsum("yi,xj,ijd->yxd", weights, weights, cells).flatten(0, 1)
    torch.testing.assert_close(found[1:], expected)


def test_a_table_of_the_same_grid_is_used_as_it_is():
    table = torch.randn(17, 3)
    assert resize_positions(table, 4) is table
