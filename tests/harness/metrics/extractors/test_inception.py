from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_fid import inception as pytorch_fid

from medbench.harness.errors import MissingPrerequisite
from medbench.harness.file_hashes import file_sha256
from medbench.harness.metrics.extractors.inception import InceptionExtractor
from medbench.harness.metrics.extractors.inception_definition import (
    DEFINITION,
    FILE_NAME,
    SHA256,
    URL,
)
from medbench.harness.metrics.extractors.protocol import Extractor


def random_state(patch):
    """Weights and batch-norm statistics of the right shapes, at a scale that keeps signals up."""
    with patch.context() as inner:
        inner.setattr(pytorch_fid, "load_state_dict_from_url", lambda *_, **__: {})
        inner.setattr(torch.nn.Module, "load_state_dict", lambda *_: None)
        state = pytorch_fid.fid_inception_v3().state_dict()
    generator = torch.Generator().manual_seed(0)
    for key, value in state.items():
        if key.endswith(("running_var", "bn.weight")):
            state[key] = torch.rand(value.shape, generator=generator) + 0.5
        elif value.ndim > 1:
            spread = (2 / value[0].numel()) ** 0.5
            state[key] = torch.randn(value.shape, generator=generator) * spread
        elif value.is_floating_point():
            state[key] = torch.randn(value.shape, generator=generator) * 0.1
    return state


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The extractor from a weights file, and the original package's network, on equal weights."""
    path = tmp_path_factory.mktemp("weights") / FILE_NAME
    with pytest.MonkeyPatch.context() as patch:
        state = random_state(patch)
        patch.setattr(pytorch_fid, "load_state_dict_from_url", lambda *_, **__: state)
        original = pytorch_fid.InceptionV3([pytorch_fid.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])
    torch.save(state, path)
    return InceptionExtractor(path, sha256=file_sha256(path)), original.eval()


@pytest.mark.parametrize("side", [256, 64])
def test_agrees_with_pytorch_fid(networks, rng, side):
    extractor, original = networks
    images = rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    with torch.inference_mode():
        inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        want = original(inputs)[0].flatten(1).numpy()
    found = extractor(images)
    assert found.shape == (2, extractor.dims) == (2, 2048)
    assert np.abs(want).max() > 1
    np.testing.assert_allclose(found, want, rtol=0, atol=2e-5 * np.abs(want).max())


def test_features_do_not_depend_on_the_batch(networks, rng):
    extractor, _ = networks
    images = rng.integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    alone = np.concatenate([extractor(images[i : i + 1]) for i in range(3)])
    whole = extractor(images)
    np.testing.assert_allclose(alone, whole, rtol=1e-5, atol=1e-5 * np.abs(whole).max())


def test_the_definition_names_the_weights_that_were_loaded(networks):
    extractor, _ = networks
    assert isinstance(extractor, Extractor)
    assert extractor.definition == DEFINITION | {
        "weights_sha256": extractor.definition["weights_sha256"]
    }
    assert extractor.definition["weights_sha256"] != SHA256


def test_the_file_is_the_one_that_pytorch_fid_loads():
    assert pytorch_fid.FID_WEIGHTS_URL == URL
    # torch.hub's convention: the name carries the first digits of the content's hash.
    assert SHA256[:8] in FILE_NAME


def test_says_where_to_get_a_missing_file(tmp_path):
    with pytest.raises(MissingPrerequisite, match=r"not at .*absent\.pth(.|\n)*https://"):
        InceptionExtractor(tmp_path / "absent.pth")


def test_refuses_another_file_before_loading_it(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_bytes(b"no network")
    with pytest.raises(MissingPrerequisite, match=SHA256):
        InceptionExtractor(path)
