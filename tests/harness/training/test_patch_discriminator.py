from __future__ import annotations

import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.harness.training import patch_discriminator


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 3, side: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=generator(7)) * 2 - 1


def test_each_logit_judges_its_own_patch_of_the_image() -> None:
    # Without the group norm, which looks at the whole image: one layer of patches.
    made = patch_discriminator.build({"channels": [8]}, 0)
    given = images(1).requires_grad_()
    logits = made(given, generator())
    assert logits.shape == (1, 8 * 8)
    (gradient,) = torch.autograd.grad(logits[0, 3 * 8 + 3], given)
    touched = (gradient[0] != 0).any(dim=0)
    assert touched[8:20, 8:20].all()
    assert touched.sum() == 12 * 12  # 3×3 places of 4×4 pixels


@pytest.mark.parametrize(("side", "logits"), [(32, 16), (64, 64), (128, 256)])
def test_the_number_of_logits_follows_the_side(side, logits) -> None:
    assert patch_discriminator.build({}, 0)(images(1, side), generator()).shape == (1, logits)


def test_an_images_logits_do_not_depend_on_the_others() -> None:
    made = patch_discriminator.build({}, 0)
    whole = made(images(), generator())
    torch.testing.assert_close(made(images()[1:2], generator()), whole[1:2])


def test_weights_follow_from_the_seed_and_the_random_state_stays() -> None:
    before = torch.get_rng_state()
    first, same, other = (patch_discriminator.build({}, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    name = "layers.2.weight"
    assert torch.equal(first[name], same[name])
    assert not torch.equal(first[name], other[name])
    # Xavier: variance 2 / (fan in + fan out), times the square of the gain 0.5.
    expected = 0.5 * (2 / ((32 + 64) * 9)) ** 0.5
    assert float(first[name].std()) == pytest.approx(expected, rel=0.02)
    assert not any(value.any() for key, value in first.items() if key.endswith("bias"))


@pytest.mark.parametrize("options", [{"channels": []}, {"channels": [12]}, {"depth": 3}])
def test_options_that_cannot_be_built_are_refused(options) -> None:
    with pytest.raises(UsageError, match="multiples of 8|unknown terms: depth"):
        patch_discriminator.build(options, 0)
