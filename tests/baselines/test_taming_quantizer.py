from __future__ import annotations

import pytest
import torch

from medbench.baselines.taming_quantizer import GumbelQuantizer, VectorQuantizer, nearest_in_space

CLOSE = {"rtol": 1e-4, "atol": 2e-5}


def _golden_quantizer(example, *, legacy: bool) -> VectorQuantizer:
    config = example.config
    made = VectorQuantizer(config["n_e"], config["e_dim"], beta=config["beta"], legacy=legacy)
    made.load_state_dict(example.weights)
    return made


def test_codes_losses_and_gradients_are_upstreams(golden):
    example = golden("quantizer_taming")
    expected = example.outputs
    quantizer = _golden_quantizer(example, legacy=example.config["legacy"])
    z = expected["z"].clone().requires_grad_()
    found = quantizer(z)
    assert torch.equal(found.indices, expected["indices"])
    torch.testing.assert_close(found.zq, expected["z_q"], **CLOSE)
    torch.testing.assert_close(found.vq_loss, expected["vq_loss"][0], **CLOSE)
    ((found.zq * expected["cotangent"]).sum() + 3 * found.vq_loss).backward()
    torch.testing.assert_close(z.grad, expected["grad_z"], rtol=1e-4, atol=1e-7)
    gradient = quantizer.embedding.weight.grad
    torch.testing.assert_close(gradient, expected["grad_embedding"], rtol=1e-4, atol=1e-7)


def test_the_corrected_form_swaps_the_weights_of_the_two_terms(golden):
    example = golden("quantizer_taming")
    z = example.outputs["z"].clone().requires_grad_()
    quantizer = _golden_quantizer(example, legacy=False)
    found = quantizer(z)
    apart = example.outputs["z_q"] - example.outputs["z"]
    beta, cells = example.config["beta"], apart.numel()
    torch.testing.assert_close(found.vq_loss, (1 + beta) * apart.square().mean(), **CLOSE)
    found.vq_loss.backward()
    torch.testing.assert_close(z.grad, -2 * beta * apart / cells, rtol=1e-4, atol=1e-7)
    onto = torch.zeros_like(quantizer.embedding.weight)
    moved = (2 * apart / cells).permute(0, 2, 3, 1).flatten(0, 2)
    onto.index_add_(0, example.outputs["indices"].flatten(), moved)
    torch.testing.assert_close(quantizer.embedding.weight.grad, onto, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("count", "size", "width"), [(300, 256, 4), (7, 100, 3), (130, 2, 16)])
def test_the_search_finds_the_smallest_distance(count, size, width):
    generator = torch.Generator().manual_seed(count)
    vectors = torch.randn(count, width, generator=generator)
    codes = torch.randn(size, width, generator=generator) * 1.5
    distances = torch.cdist(vectors.double(), codes.double())
    assert torch.equal(nearest_in_space(vectors, codes), distances.argmin(dim=1))


@torch.no_grad()
def test_the_gumbel_form_takes_the_likeliest_code_without_noise():
    quantizer = GumbelQuantizer(11, 3)
    generator = torch.Generator().manual_seed(0)
    for tensor in quantizer.state_dict().values():
        tensor.normal_(generator=generator)
    z = torch.randn(2, 3, 4, 5, generator=generator)
    logits = torch.einsum("bdhw,nd->bhwn", z, quantizer.proj.weight[..., 0, 0])
    expected = (logits + quantizer.proj.bias).argmax(dim=-1)
    indices = quantizer.encode(z)
    assert torch.equal(indices, expected)
    assert torch.equal(indices, quantizer.encode(z))
    assert torch.equal(
        quantizer.look_up(indices)[1, :, 2, 3], quantizer.embed.weight[expected[1, 2, 3]]
    )
