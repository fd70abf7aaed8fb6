"""LPIPS against the package's own forward, and where its weights are looked for."""

from __future__ import annotations

import lpips as package
import numpy as np
import pytest
import torch

from medbench.harness.errors import MetricError, UsageError
from medbench.harness.file_hashes import file_sha256
from medbench.harness.metrics import lpips_file
from medbench.harness.metrics.lpips_network import Lpips


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A file in torchvision's keys, and the package's network with the same weights."""
    torch.manual_seed(0)
    original = package.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    state = {
        f"features.{key.split('.', 2)[2]}": value
        for key, value in original.state_dict().items()
        if key.startswith("net.")
    }
    path = tmp_path_factory.mktemp("trunk") / "alexnet.pth"
    torch.save(state, path)
    return path, original


def test_equals_the_package_on_images_in_minus_one_to_one(trunk, rng):
    path, original = trunk
    x, y = (rng.integers(0, 256, (9, 64, 64, 3), dtype=np.uint8) for _ in range(2))
    inputs = [torch.from_numpy(a).permute(0, 3, 1, 2).float() / 127.5 - 1 for a in (x, y)]
    with torch.inference_mode():
        want = original(*inputs).flatten().numpy()
    found = Lpips("alex", path)(x, y)
    assert found.shape == (9,)
    np.testing.assert_allclose(found, want, rtol=1e-4)
    assert want.max() > 0


def test_copies_score_zero_and_scores_do_not_depend_on_the_batch(trunk, rng):
    metric = Lpips("alex", trunk[0])
    x, y = (rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8) for _ in range(2))
    assert metric(x, x).tolist() == [0, 0, 0]
    alone = [metric(x[i : i + 1], y[i : i + 1])[0] for i in range(3)]
    np.testing.assert_allclose(metric(x, y), alone, rtol=1e-5)


def test_small_images_and_floats_are_refused(trunk, rng):
    metric = Lpips("alex", trunk[0])
    small = rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    with pytest.raises(MetricError, match="at least 48"):
        metric(small, small)
    with pytest.raises(MetricError, match="uint8"):
        metric(small / 255, small / 255)


def test_the_file_is_found_where_it_is_and_absent_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert lpips_file.locate("alex") is None
    assert "alexnet-owt-7be5be79.pth" in lpips_file.absence("alex")
    assert str(tmp_path) not in lpips_file.absence("alex")
    content = tmp_path / "content"
    content.write_bytes(b"weights")
    name = f"alexnet-{file_sha256(content)[:8]}.pth"
    monkeypatch.setitem(lpips_file.FILES, "alex", name)
    path = tmp_path / "torch" / "hub" / "checkpoints" / name
    path.parent.mkdir(parents=True)
    content.rename(path)
    assert lpips_file.locate("alex") == path


def test_another_file_under_the_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_WEIGHTS", str(tmp_path))
    path = lpips_file.places("vgg")[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"another")
    with pytest.raises(UsageError, match="damaged or another file"):
        lpips_file.locate("vgg")
