from __future__ import annotations

import numpy as np
import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.harness.probing.projection import project


def matrix(dims, size):
    return project(torch.eye(dims, dtype=torch.float64), size=size)


@pytest.mark.parametrize(("dims", "size"), [(12, 12), (20, 8), (1000, 64), (129, 128)])
def test_every_feature_goes_with_a_sign_into_one_output_and_all_fill_evenly(dims, size):
    found = matrix(dims, size)
    assert torch.equal(found.abs().sum(dim=1), torch.ones(dims, dtype=torch.float64))
    assert set(found.unique().tolist()) <= {-1.0, 0.0, 1.0}
    filled = found.abs().sum(dim=0)
    assert {int(filled.min()), int(filled.max())} <= {dims // size, -(-dims // size)}


def test_is_linear(rng):
    features = torch.from_numpy(rng.normal(size=(5, 90)))
    torch.testing.assert_close(project(features, size=16), features @ matrix(90, 16))


def test_keeps_inner_products_as_closely_as_theory_says(rng):
    # For unit vectors the error's variance is about (1 + cos²) / size.
    x = rng.normal(size=(60, 4096))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    short = project(torch.from_numpy(x), size=512).numpy()
    error = (short @ short.T - x @ x.T)[np.triu_indices(60, k=1)]
    assert abs(error.mean()) < 0.1 * error.std()
    assert error.std() == pytest.approx(1 / np.sqrt(512), rel=0.2)


def test_stays_the_same_projection_on_every_machine():
    found = project(torch.arange(1.0, 11.0)[None], size=4)
    assert found.tolist() == [[-8.0, 5.0, -5.0, 9.0]]


@pytest.mark.parametrize("shape", [(3, 7), (8,), (2, 8, 8)])
def test_bad_shapes_are_refused(shape):
    with pytest.raises(UsageError, match="needs \\(B, 8 or more\\)"):
        project(torch.zeros(shape), size=8)
