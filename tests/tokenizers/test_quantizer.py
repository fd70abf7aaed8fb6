from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medbench.tokenizers.quantizer import MultiCodebookQuantizer, nearest_code


@pytest.fixture
def case(golden):
    example = golden("quantizer_multicodebook")
    quantizer = MultiCodebookQuantizer(
        example.config["vocab_size"],
        example.config["vocab_width"],
        example.config["num_codebooks"],
        beta=example.config["beta"],
        entropy_temperature=example.config["entropy_temp"],
    )
    quantizer.load_state_dict(example.weights)
    return quantizer.train(), example.outputs


def test_losses_codes_and_usage_are_upstreams(case):
    quantizer, expected = case
    found = quantizer(expected["z"])
    assert torch.equal(found.indices, expected["indices"])
    torch.testing.assert_close(found.zq, expected["z_q"], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(found.vq_loss, expected["vq_loss"][0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        found.entropy_loss, expected["entropy_loss"][0], rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(100 * found.usage, expected["usage_percent"][0])
    usage = torch.stack([book.vocab_usage for book in quantizer.books])
    torch.testing.assert_close(usage, expected["vocab_usage_after"])


def test_gradients_are_upstreams(case):
    quantizer, expected = case
    z = expected["z"].clone().requires_grad_()
    found = quantizer(z)
    total = (found.zq * expected["cotangent"]).sum() + 3 * found.vq_loss + 0.5 * found.entropy_loss
    total.backward()
    torch.testing.assert_close(z.grad, expected["grad_z"], rtol=1e-4, atol=1e-6)
    codes = torch.stack([book.codebook.weight.grad for book in quantizer.books])
    torch.testing.assert_close(codes, expected["grad_codebooks"], rtol=1e-4, atol=1e-6)


def test_codes_are_looked_up_on_the_unit_sphere(case):
    quantizer, expected = case
    found = quantizer.look_up(expected["indices"])
    torch.testing.assert_close(found, expected["z_q_from_indices"], rtol=1e-4, atol=2e-5)
    assert torch.equal(quantizer.encode(expected["z"]), expected["indices"])


def test_evaluation_leaves_the_usage_record_alone(case):
    quantizer, expected = case
    quantizer.eval()(expected["z"])
    assert not any(book.vocab_usage.any() for book in quantizer.books)


@pytest.mark.parametrize(
    ("codes", "vectors"), [(4096, 300), (4096, 1), (64, 129), (100, 257), (7, 5)]
)
def test_the_blocked_search_equals_a_float64_argmax(codes, vectors):
    generator = torch.Generator().manual_seed(codes + vectors)
    book = F.normalize(torch.randn(codes, 8, generator=generator), dim=1)
    points = F.normalize(torch.randn(vectors, 8, generator=generator), dim=1)
    expected = (points.double() @ book.double().T).argmax(dim=1)
    assert torch.equal(nearest_code(points, book), expected)


def test_the_first_of_equal_codes_is_taken():
    book = torch.eye(8).repeat(16, 1)
    assert torch.equal(nearest_code(torch.eye(8), book), torch.arange(8))
