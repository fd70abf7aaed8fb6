from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from medbench import load_tokenizer, testing
from medbench.harness.errors import UsageError

CLOSE = {"rtol": 1e-4, "atol": 2e-6}
LOSS_WEIGHTS = {
    "multicodebook": {"vq_loss": 3.0, "entropy_loss": 0.5},
    "taming": {"vq_loss": 3.0},
    "tokenflow": {"vq_loss": 3.0, "commit_loss": 2.0, "entropy_loss": 0.5},
    "llamagen": {"vq_loss": 3.0, "commit_loss": 2.0, "entropy_loss": 0.5},
}


@pytest.mark.parametrize("name", testing.QUANTIZERS)
def test_each_quantizer_equals_upstream_in_codes_losses_and_gradients(golden, name):
    example = golden(f"quantizer_{name}")
    expected = example.outputs
    made = testing.quantizer(name, example.config)
    made.load_state_dict(example.weights)
    z = expected["z"].clone().requires_grad_()
    found = made(z)
    assert torch.equal(found.indices, expected["indices"])
    torch.testing.assert_close(found.zq, expected["z_q"], **CLOSE)
    total = (found.zq * expected["cotangent"]).sum()
    for loss, weight in LOSS_WEIGHTS[name].items():
        torch.testing.assert_close(getattr(found, loss), expected[loss][0], **CLOSE)
        total = total + weight * getattr(found, loss)
    total.backward()
    torch.testing.assert_close(z.grad, expected["grad_z"], **CLOSE)


def test_the_losses_equal_upstreams(golden):
    given = golden("train_losses").outputs
    pair = (given["image_features"], given["text_features"])
    contrastive = testing.loss("contrastive")(*pair, given["logit_scale"])
    torch.testing.assert_close(contrastive, given["clip_loss"][0], **CLOSE)
    torch.testing.assert_close(testing.loss("cosine")(*pair), given["cosine_loss"][0], **CLOSE)
    for kind in ("hinge", "softplus", "linear"):
        found = testing.loss("real")(given["disc_logits"], kind)
        torch.testing.assert_close(found, given[kind][0], **CLOSE)
        mirrored = testing.loss("fake")(-given["disc_logits"], kind)
        torch.testing.assert_close(mirrored, given[kind][0], **CLOSE)


@pytest.mark.parametrize("shape", ["cos", "lin", "lin0", "lin00", "lin0.3", "exp"])
def test_the_schedules_equal_upstreams(golden, shape):
    settings = {"base": 5e-4, "steps": 100, "warmup_steps": 12.5}
    settings |= {"start_fraction": 0.05, "final_fraction": 0.1}
    ours = [testing.learning_rate(shape, step, **settings) for step in range(100)]
    np.testing.assert_allclose(ours, golden("train_losses").outputs[f"lr_{shape}"], rtol=1e-12)


@pytest.mark.parametrize("norm", ["gn", "bn"])
def test_the_discriminator_heads_equal_upstreams(golden, norm):
    example = golden(f"disc_heads_{norm}")
    config = {key: value for key, value in example.config.items() if key != "use_specnorm"}
    made = testing.discriminator_heads(**config)
    made.load_state_dict(example.weights)
    found = made(list(example.outputs["acts"]))
    torch.testing.assert_close(found, example.outputs["logits"], rtol=1e-4, atol=2e-5)


def test_unknown_names_and_terms_are_refused():
    with pytest.raises(UsageError, match=r"unknown quantizer 'llamgen'.*llamagen"):
        testing.quantizer("llamgen", {})
    with pytest.raises(UsageError, match="unexpected keyword argument 'codes'"):
        testing.quantizer("taming", {"codes": 3})
    with pytest.raises(UsageError, match="l2_norm false"):
        testing.quantizer("llamagen", {"n_e": 8, "e_dim": 2, "l2_norm": False})
    with pytest.raises(UsageError, match="unknown loss"):
        testing.loss("clip")
    with pytest.raises(UsageError, match="unknown adversarial loss 'wgan'"):
        testing.loss("real")(torch.zeros(2), "wgan")
    with pytest.raises(UsageError, match="unknown shape of a schedule 'step'"):
        testing.learning_rate("step", 0, base=1.0, steps=3)
    with pytest.raises(UsageError, match="multiples of 32"):
        testing.discriminator_heads(24, 2)


def test_conformance_is_one_call_and_lists_what_is_broken():
    tokenizer = load_tokenizer("meditok")
    assert testing.assert_conforms(tokenizer).passed

    class Forgetful:
        info = tokenizer.info
        encode = tokenizer.encode
        features = tokenizer.features

        def decode(self, encoding):
            return tokenizer.decode(encoding).half()

    with pytest.raises(AssertionError, match="float32"):
        testing.assert_conforms(Forgetful())


def test_deterministic_weights_depend_on_seed_key_and_shape_only():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    first = testing.deterministic_weights(network, seed=1)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    again = testing.deterministic_weights(shapes, seed=1)
    assert all(torch.equal(first[key], again[key].to(first[key].dtype)) for key in first)
    assert first["1.num_batches_tracked"].dtype == torch.int64
    other = testing.deterministic_weights(network, seed=2)
    assert not torch.equal(first["0.weight"], other["0.weight"])
    network.load_state_dict(first)


def test_a_case_with_a_wrong_checksum_is_refused():
    entry = {"key": "a.weight", "shape": [2, 2], "dtype": "float32", "crc32": "00000000"}
    case = {"seed": 0, "rules": [[".", "auto", 1.0]], "state_dict": [entry]}
    with pytest.raises(UsageError, match=r"a\.weight: the checksum"):
        testing.weights_of_case(case)


def test_importing_it_loads_no_torch():
    code = "import sys, medbench.testing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
