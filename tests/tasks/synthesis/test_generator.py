"""The generator agrees with upstream's outputs, and with itself with and without a cache."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medbench.harness.errors import UsageError
from medbench.tasks.synthesis.generator import network
from medbench.tasks.synthesis.generator.config import read_config
from medbench.tasks.synthesis.generator.draws import choose
from medbench.tasks.synthesis.generator.load import load_generator, new_generator
from medbench.tasks.synthesis.generator.network import Generator
from medbench.tasks.synthesis.generator.sampling import Sampling

NAMES = ("gpt_multi", "gpt_single")


@pytest.fixture(params=NAMES)
def case(request, golden):
    found = golden(request.param)
    return found, load_generator(config=found.config, weights=found.weights)


def test_logits_and_hidden_state_are_upstreams(case):
    found, generator = case
    out = found.outputs
    with torch.no_grad():
        logits = generator.logits(out["classes"], out["tokens"])
        hidden = generator.hidden(out["classes"], generator.checked(out["classes"], out["tokens"]))
    torch.testing.assert_close(logits, out["logits"], atol=2e-5, rtol=1e-4)
    if "hidden" in out:
        torch.testing.assert_close(hidden, out["hidden"], atol=2e-5, rtol=1e-4)


def test_loss_and_gradient_are_upstreams(case):
    found, generator = case
    out = found.outputs
    loss = generator.loss(out["classes"], out["tokens"])
    loss.backward()
    torch.testing.assert_close(loss[None].detach(), out["loss"], atol=2e-5, rtol=1e-4)
    gradient = generator.layers[0].attention.wqkv.weight.grad
    torch.testing.assert_close(gradient, out["grad_layers_0_wqkv"], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("name", "scale"), [("greedy", 1.0), ("greedy_cfg3", 3.0)])
def test_greedy_generation_is_upstreams(case, name, scale):
    found, generator = case
    sampling = Sampling(greedy=True, cfg_scale=scale)
    made = generator.generate(found.outputs["classes"], sampling=sampling)
    assert torch.equal(made, found.outputs[name])


def test_published_network_has_the_published_keys_and_142_4_million_parameters(layout):
    config = {"dim": 768, "n_layer": 12, "n_head": 12, "num_classes": 6, "num_codebooks": 8}
    with torch.device("meta"):
        generator = Generator(read_config({**config, "vocab_size": 32768}))
    shapes = {key: tuple(value.shape) for key, value in generator.state_dict().items()}
    assert shapes == layout("gpt_b_multi_meditok")
    assert sum(parameter.numel() for parameter in generator.parameters()) == 142_375_168


@pytest.mark.parametrize("wrapper", ["model", "module", "state_dict"])
def test_wrapped_checkpoints_load(golden, tmp_path, wrapper):
    case = golden("gpt_single")
    path = tmp_path / "gpt.pt"
    torch.save({wrapper: case.weights}, path)
    generator = load_generator(config=case.config, weights=path)
    out = case.outputs
    with torch.no_grad():
        found = generator.logits(out["classes"], out["tokens"])
    torch.testing.assert_close(found, out["logits"], atol=2e-5, rtol=1e-4)


def _small(books, layout, kv_heads=None, class_rotary="zero"):
    terms = {"dim": 32, "n_layer": 2, "n_head": 4, "n_kv_head": kv_heads, "multiple_of": 16}
    shape = {"vocab_size": 24 * books, "num_codebooks": books, "block_size": 9, "num_classes": 3}
    turns = {"layout": layout, "class_rotary": class_rotary}
    generator = new_generator(read_config({**terms, **shape, **turns}), seed=0)
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=source) * 0.2)
    return generator.eval()


CASES = [(1, "raster"), (3, "raster", 2), (3, "sequence"), (1, "raster", 1, "identity")]


@pytest.fixture(params=CASES)
def small(request):
    return _small(*request.param)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_cached_logits_are_those_without_a_cache(small, monkeypatch, scale):
    seen = []

    def choose(logits, numbers, sampling):
        seen.append(logits)
        return (numbers * logits.shape[1]).long()

    monkeypatch.setattr(network, "choose", choose)
    classes = torch.tensor([0, 2, 1])
    tokens = small.generate(classes, sampling=Sampling(cfg_scale=scale, rows=3))
    with torch.no_grad():
        wanted = small.logits(classes, tokens)
        if scale != 1:
            without = small.logits(torch.full_like(classes, 3), tokens)
            wanted = without + (wanted - without) * scale
    books = small.config.num_codebooks
    found = torch.stack(seen, dim=1).unflatten(1, (9, books)).transpose(1, 2)
    wanted = wanted[:, None] if books == 1 else wanted
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_an_image_does_not_depend_on_the_others_of_its_batch(small):
    classes, numbers = [0, 1, 2, 1, 0], [7, 3, 11, 0, 2]
    together = small.generate(classes, seed=5, images=numbers)
    assert torch.equal(together, small.generate(classes, seed=5, images=numbers))
    for row, (name, number) in enumerate(zip(classes, numbers, strict=True)):
        alone = small.generate([name], seed=5, images=[number])
        assert torch.equal(alone[0], together[row])
    assert not torch.equal(together, small.generate(classes, seed=6, images=numbers))


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_logits_of_an_image_are_the_same_bits_in_batches_of_any_size(monkeypatch, scale):
    """With thousands of codes, nearly alike, a last bit of a logit soon gives another code."""
    terms = {"dim": 128, "n_layer": 4, "n_head": 4, "num_classes": 9, "block_size": 4}
    config = read_config({**terms, "vocab_size": 8 * 4096, "num_codebooks": 8})
    generator = new_generator(config, seed=0).eval()
    source = torch.Generator().manual_seed(1)
    torch.nn.init.normal_(generator.output.linear_head.weight, std=0.02, generator=source)
    sampling, seen = Sampling(cfg_scale=scale), []

    def recorded(logits, numbers, sampling):
        seen.append(logits)
        return choose(logits, numbers, sampling)

    monkeypatch.setattr(network, "choose", recorded)

    def drawn(images):
        """The codes, and the logits of each of them: (B, 8, 4), (B, 32, 4096)."""
        seen.clear()
        codes = generator.generate([i % 9 for i in images], sampling=sampling, images=images)
        parts = torch.stack(seen).unflatten(0, (-1, 4 * 8)).transpose(1, 2)
        return codes, parts.flatten(0, 1)[: len(images)]

    codes, logits = drawn(range(64))
    for size in (1, 2, 5, 12):
        for images in (range(size), range(64 - size, 64)):
            found = drawn(images)
            assert torch.equal(found[0], codes[images.start : images.stop]), size
            assert torch.equal(found[1], logits[images.start : images.stop]), size


def test_a_draw_leaves_the_global_generator_alone(small):
    before = torch.random.get_rng_state()
    small.generate([0, 1])
    assert torch.equal(before, torch.random.get_rng_state())


def test_loss_on_all_positions_is_the_mean_of_losses_on_each(small):
    books = small.config.num_codebooks
    tokens = torch.randint(24, (2, books, 9), generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 2])
    with torch.no_grad():
        whole = small.loss(classes, tokens)
        parts = [small.loss(classes, tokens, torch.full((2, 1), place)) for place in range(9)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole, atol=1e-5, rtol=1e-5)


def test_loss_from_another_context_is_of_the_true_tokens(small):
    """The trunk sees the context; inside a place the head goes on from the true codes."""
    books = small.config.num_codebooks
    source = torch.Generator().manual_seed(0)
    tokens, context = torch.randint(24, (2, 2, books, 9), generator=source)
    classes = torch.tensor([0, 2])
    with torch.no_grad():
        assert torch.equal(small.loss(classes, tokens, context=tokens), small.loss(classes, tokens))
        for place in range(9):
            # Up to this place the context, from it the truth: what logits() computes by itself.
            mixed = torch.cat([context[..., :place], tokens[..., place:]], dim=2)
            at = torch.full((2, 1), place)
            torch.testing.assert_close(
                small.loss(classes, tokens, at, context=context), small.loss(classes, mixed, at)
            )


@pytest.mark.parametrize("layout", ["raster", "sequence"])
def test_the_class_is_turned_to_nothing_as_upstream_or_not_at_all(layout):
    zero, identity = (_small(1, layout, class_rotary=each)._turns for each in ("zero", "identity"))
    assert not zero[0].any()
    assert torch.equal(identity[0], identity[1])  # that of the first place
    assert torch.equal(zero[1:], identity[1:])


def test_the_future_is_not_seen(small):
    books = small.config.num_codebooks
    tokens = torch.zeros(1, books, 9, dtype=torch.int64)
    changed = tokens.clone()
    changed[:, :, 5] = 3
    with torch.no_grad():
        first, second = (small.logits(torch.tensor([1]), each) for each in (tokens, changed))
    assert torch.equal(first[..., :5, :], second[..., :5, :])
    assert not torch.equal(first[..., 6:, :], second[..., 6:, :])


@pytest.mark.parametrize(
    ("classes", "tokens", "words"),
    [
        (torch.tensor([5]), torch.zeros(1, 3, 9, dtype=torch.int64), "classes must be in 0 to 3"),
        (torch.tensor([0]), torch.full((1, 3, 9), 24), "tokens must be in 0 to 23"),
        (torch.tensor([0]), torch.zeros(1, 2, 9, dtype=torch.int64), r"tokens \(B, 3, 9\)"),
        (torch.tensor([0.0]), torch.zeros(1, 3, 9, dtype=torch.int64), "float32"),
    ],
)
def test_logits_refuse_what_does_not_fit(classes, tokens, words):
    with pytest.raises(UsageError, match=words):
        _small(3, "raster").logits(classes, tokens)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"block_size": 10}, "no square"),
        ({"vocab_size": 10, "num_codebooks": 3}, "multiple of num_codebooks"),
        ({"dim": 30, "n_head": 4}, "multiple of 4 n_head"),
        ({"drop_path_rate": 0.1}, "drop_path_rate"),
        ({"model_type": "t2i"}, "model_type"),
        ({"class_rotary": "one"}, "class_rotary"),
        ({"depth": 3}, "unknown terms: depth"),
    ],
)
def test_impossible_configurations_are_refused(terms, words):
    with pytest.raises(UsageError, match=words):
        read_config(terms)


def test_generate_refuses_the_class_that_stands_for_none():
    with pytest.raises(UsageError, match="classes must be in 0 to 2"):
        _small(1, "raster").generate([3])


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"seed": -1}, r"seed must be in 0 to 2\*\*64 - 1, got -1"),
        ({"seed": 2**64}, "seed must be in 0"),
        ({"seed": 0.5}, "seed must be a whole number, got 0.5"),
        ({"images": [-1]}, "image number must be in 0"),
        ({"images": [2**64]}, "image number must be in 0"),
        ({"images": [1, 2]}, "2 image numbers for 1 classes"),
        ({"classes": 0}, r"got torch.int64 \(\)"),
        ({"classes": []}, "at least one whole number"),
        ({"classes": ["a"]}, r"whole numbers, got \['a'\]"),
        ({"classes": torch.tensor([0.7])}, "got torch.float32"),
        ({"classes": [True]}, "got torch.bool"),
    ],
)
def test_generate_refuses_what_would_be_taken_for_another_number(terms, words):
    with pytest.raises(UsageError, match=words):
        _small(1, "raster").generate(**({"classes": [0]} | terms))


def test_generate_takes_whole_numbers_of_any_kind(small):
    wanted = small.generate([0, 2], seed=3, images=[1, 2**64 - 1])
    classes, images = torch.tensor([0, 2], dtype=torch.int32), np.array([1, 2**64 - 1], np.uint64)
    assert torch.equal(small.generate(classes, seed=np.int64(3), images=images), wanted)


def test_generator_that_always_sees_its_class_has_no_row_for_none_and_takes_no_guidance():
    terms = {"dim": 16, "n_layer": 1, "n_head": 2, "vocab_size": 8, "block_size": 4}
    config = read_config({**terms, "num_classes": 3, "class_dropout_prob": 0})
    generator = new_generator(config, seed=0)
    assert generator.cls_embedding.embedding_table.weight.shape == (3, 16)
    assert generator.generate([0, 2]).shape == (2, 4)
    with pytest.raises(UsageError, match="nothing to be guided from"):
        generator.generate([0], sampling=Sampling(cfg_scale=2.0))
    with pytest.raises(UsageError, match="classes must be in 0 to 2"):
        generator.logits(torch.tensor([3]), torch.zeros(1, 4, dtype=torch.int64))
