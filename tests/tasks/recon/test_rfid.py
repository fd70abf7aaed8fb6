"""rFID end to end, with the FID Inception's architecture on weights made here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.image.fid import _compute_fid

from medbench.harness.datasets.store import ingest
from medbench.harness.errors import UsageError
from medbench.harness.file_hashes import file_sha256
from medbench.harness.metrics.extractors import inception_definition, inception_file
from medbench.harness.metrics.extractors.inception import InceptionExtractor
from medbench.harness.registry import load_dataset
from medbench.harness.request import Request
from medbench.harness.runner import execute
from medbench.harness.tokenizer_registry import load_tokenizer
from medbench.tasks.recon.measure import reconstruct

COUNT = 16


@pytest.fixture
def images(tmp_path, rng):
    root = tmp_path / "images"
    (root / "ct").mkdir(parents=True)
    for index in range(COUNT):
        coarse = rng.integers(0, 256, (12 + index % 30, 40, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((256, 256)).save(root / "ct" / f"{index:03d}.png")
    return f"folder:{root}"


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A weights file in the place where the real one is looked for, taken for the real one."""
    from pytorch_fid import inception as pytorch_fid

    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "weights"))
    with monkeypatch.context() as patch:
        patch.setattr(pytorch_fid, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *_: None)
        torch.manual_seed(0)
        state = pytorch_fid.fid_inception_v3().state_dict()
    for key, value in state.items():
        if value.ndim > 1:
            state[key] = torch.randn(value.shape) * (2 / value[0].numel()) ** 0.5
    path = inception_file.places()[0]
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    monkeypatch.setattr(inception_file, "SHA256", file_sha256(path))
    monkeypatch.setitem(inception_definition.DEFINITION, "weights_sha256", file_sha256(path))
    return path


@pytest.mark.slow
def test_rfid_is_the_frechet_distance_of_inception_features(images, weights, tmp_path, monkeypatch):
    # A hundred images would take minutes and test nothing more.
    monkeypatch.setattr("medbench.harness.metrics.feature_sets.MINIMUM_IMAGES", COUNT)
    request = Request(tokenizers=["down16"], dataset=images, output=tmp_path / "results")
    (cell,) = execute(request).cells
    assert cell.record is not None, cell.error
    found = cell.record.metric("rfid", "all")
    assert found.n == COUNT
    assert "rank-deficient" in found.flags
    assert cell.record.metric("rfd_random", "all").value is not None

    store = ingest(load_dataset(images))
    originals = store.read(0, COUNT)
    back = reconstruct(load_tokenizer("down16"), originals, batch=8, device="cpu").images
    extractor = InceptionExtractor(weights, sha256=file_sha256(weights))
    features = [
        np.concatenate([extractor(part) for part in np.array_split(pixels, 2)])
        for pixels in (originals, back)
    ]
    moments = [
        (torch.from_numpy(f.mean(0, dtype=np.float64)), torch.from_numpy(np.cov(f.T)))
        for f in features
    ]
    want = float(_compute_fid(*moments[0], *moments[1]))
    assert found.value == pytest.approx(want, rel=1e-4)
    assert cell.record.metric("kid", "all").value is not None


def test_another_file_under_the_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    path = inception_file.places()[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not the weights")
    with pytest.raises(UsageError, match="damaged or not the FID Inception"):
        inception_file.locate()
