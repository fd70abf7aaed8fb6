from __future__ import annotations

import gc

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import Parameter

import medbench
from medbench.baselines.pumit import build, build_hard
from medbench.baselines.pumit_config import PUMITConfig
from medbench.baselines.pumit_model import PUMITModel
from medbench.harness.errors import UsageError
from medbench.harness.protocol import Encoding
from medbench.testing import deterministic_weights

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
SHALLOW = {
    "quantize": {"num_embeddings": 20, "embedding_dim": 24},
    "in_channels": 3,
    "start_stride": 8,
    "downsample_layer_channels": [8, 16],
    "upsample_layer_channels": [8, 16, 24],
}
"""One layer of stride 8, so that depth may be halved in part of a layer."""


def _weights(config: dict) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return deterministic_weights(PUMITModel(PUMITConfig.from_mapping(config), dimensions=3))


def _volumes(*shape: int) -> torch.Tensor:
    return torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture(scope="module")
def tokenizer():
    return build(variant="mine", config=SHALLOW, weights=_weights(SHALLOW))


@pytest.mark.parametrize(("name", "ending"), [("pumit", ""), ("pumit-hard", "_hard")])
def test_a_volume_gives_upstreams_numbers(golden, name, ending):
    example = golden("pumit")
    expected = {k[4:]: v for k, v in example.outputs.items() if k.startswith("vol_")}
    aniso_d = example.config["vol_aniso_d"]
    ours = medbench.load_tokenizer(name, config=example.config, weights=example.weights)
    volumes = (expected["x"] + 1) / 2
    encoding = ours.encode_volume(volumes, aniso_d)
    torch.testing.assert_close(encoding.latents, expected["z_q" + ending], **CLOSE)
    rec = ours.decode_volume(encoding, aniso_d) * 2 - 1
    torch.testing.assert_close(rec, expected["rec" + ending], **CLOSE)
    z = ours.volume.encode(expected["x"], aniso_d)
    torch.testing.assert_close(z, expected["z"], **CLOSE)
    logits = ours.volume.model.quantize.logits(z)
    torch.testing.assert_close(logits, expected["logits"], **CLOSE)
    torch.testing.assert_close(logits.softmax(-1), expected["probs"], **CLOSE)
    if ending:
        assert torch.equal(encoding.indices, expected["indices"].flatten(1).unsqueeze(1))


@pytest.mark.parametrize("prefix", ["", "vol_"])
def test_the_losses_are_upstreams(golden, prefix):
    example = golden("pumit")
    ours = build(variant="mine", config=example.config, weights=example.weights)
    losses = ours.model.quantize.losses(example.outputs[f"{prefix}logits"])
    for name in ("quant_loss", "entropy"):
        expected = example.outputs[prefix + name][0]
        torch.testing.assert_close(getattr(losses, name), expected, **CLOSE)


@pytest.mark.parametrize("aniso_d", [5, 6, 40])
@pytest.mark.parametrize("config", ["golden", "shallow"])
def test_one_coarse_slice_is_an_image(golden, config, aniso_d):
    example = golden("pumit")
    terms = example.config if config == "golden" else SHALLOW
    weights = example.weights if config == "golden" else _weights(SHALLOW)
    ours = build_hard(variant="mine", config=terms, weights=weights)
    images = _volumes(32, 32)
    flat, deep = ours.encode(images), ours.encode_volume(images.unsqueeze(2), aniso_d)
    assert torch.equal(flat.indices, deep.indices)
    torch.testing.assert_close(
        ours.decode_volume(deep, aniso_d).squeeze(2), ours.decode(flat), **CLOSE
    )


@pytest.mark.parametrize(
    ("aniso_d", "slices"), [(0, 16), (1, 8), (2, 4), (3, 2), (4, 1), (5, 1), (9, 1)]
)
def test_depth_shrinks_as_often_as_the_plane_less_its_coarseness(tokenizer, aniso_d, slices):
    assert tokenizer.volume.depth_downsample(aniso_d) == slices
    volumes = _volumes(2 * slices, 16, 32)
    encoding = tokenizer.encode_volume(volumes, aniso_d)
    assert encoding.latents.shape == (1, 24, 2, 1, 2)
    assert tokenizer.decode_volume(encoding, aniso_d).shape == volumes.shape


@torch.no_grad()
def test_isotropic_volumes_go_through_the_plain_network(tokenizer):
    x = _volumes(16, 32, 16) * 2 - 1
    model = tokenizer.volume.model
    z = tokenizer.volume.encode(x, 0)
    assert torch.equal(z, model.encoder(x))
    assert torch.equal(tokenizer.volume.decode(z, 0), model.decoder(z))


@torch.no_grad()
def test_a_coarse_volume_is_a_fine_one_with_its_slices_repeated(tokenizer):
    x = _volumes(4, 32, 32) * 2 - 1
    convolution = tokenizer.volume.model.encoder[0]  # where no padding sees the difference
    fine = convolution(x.repeat_interleave(4, dim=2))
    kernel = convolution.weight.unflatten(2, (2, 4)).sum(3)
    coarse = torch.nn.functional.conv3d(x, kernel, convolution.bias, (2, 8, 8))
    torch.testing.assert_close(coarse, fine, **CLOSE)


def test_the_network_for_volumes_is_not_in_memory_before_it_is_used(tmp_path):
    config = SHALLOW | {"downsample_layer_channels": [11, 16]}
    path = tmp_path / "simple-soft.safetensors"
    save_file(_weights(config), path)

    def kernels() -> int:
        gc.collect()
        tensors = (each for each in gc.get_objects() if type(each) in (torch.Tensor, Parameter))
        dense = (each for each in tensors if not each.is_nested)  # nested ones have no shape
        return sum(each.shape == (16, 11, 2, 2, 2) for each in dense)

    ours = build(variant="mine", config=config, weights=path)
    assert kernels() == 0
    assert ours.volume is ours.volume
    assert kernels() == 1


def test_a_file_that_changed_meanwhile_is_refused(tmp_path):
    path = tmp_path / "simple-soft.safetensors"
    save_file(_weights(SHALLOW), path)
    ours = build(variant="mine", config=SHALLOW, weights=path)
    save_file({key: value + 1 for key, value in _weights(SHALLOW).items()}, path)
    with pytest.raises(UsageError, match="has changed since it was loaded"):
        ours.encode_volume(_volumes(16, 16, 16), 0)


@pytest.mark.parametrize(
    ("volumes", "aniso_d", "message"),
    [
        (_volumes(16, 16, 16), -1, "integer of at least 0"),
        (_volumes(16, 16, 16), 1.0, "integer of at least 0"),
        (_volumes(8, 16, 16), 0, r"multiples of \(16, 16, 16\), got \(1, 3, 8, 16, 16\)"),
        (_volumes(6, 16, 16), 2, r"multiples of \(4, 16, 16\)"),
        (_volumes(16, 16, 24), 0, r"multiples of \(16, 16, 16\)"),
        (_volumes(0, 16, 16), 5, r"multiples of \(1, 16, 16\)"),
        (_volumes(16, 16), 0, r"\(B, 3, depth, height, width\)"),
        (_volumes(16, 16, 16).double(), 0, "float64"),
        (_volumes(16, 16, 16) * 255, 0, r"in \[0, 1\]"),
        (_volumes(16, 16, 16) * torch.nan, 0, r"in \[0, 1\]"),
    ],
)
def test_what_is_no_volume_is_refused(tokenizer, volumes, aniso_d, message):
    with pytest.raises(UsageError, match=message):
        tokenizer.encode_volume(volumes, aniso_d)


@pytest.mark.parametrize(
    "latents",
    [
        None,
        torch.zeros(1, 24, 1, 1),
        torch.zeros(1, 23, 1, 1, 1),
        torch.full((1, 24, 1, 1, 1), torch.nan),
    ],
)
def test_what_is_no_latent_of_a_volume_is_refused(tokenizer, latents):
    with pytest.raises(UsageError, match=r"finite float32 \(B, 24, d, h, w\)"):
        tokenizer.decode_volume(Encoding(latents=latents), 0)
