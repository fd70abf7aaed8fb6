from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from scipy import signal
from torch import Tensor, nn

from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.training.perceptual import (
    PerceptualTerms,
    RandomFeatureDistance,
    build_perceptual,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 2, side: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=generator(seed)) * 2 - 1


def random_trunk(kind: str) -> dict[str, Tensor]:
    """Weights of torchvision's layers, without its classifier."""
    plan = {
        "vgg": torchvision.models.vgg.cfgs["D"],
        "alex": [(64, 11), "M", (192, 5), "M", (384, 3), (256, 3), (256, 3)],
    }[kind]
    weights, inputs, place, source = {}, 3, 0, generator(1)
    for step in plan:
        if step == "M":
            place += 1
            continue
        width, kernel = step if isinstance(step, tuple) else (step, 3)
        spread = (2 / (inputs * kernel**2)) ** 0.5
        shape = (width, inputs, kernel, kernel)
        weights[f"features.{place}.weight"] = spread * torch.randn(shape, generator=source)
        weights[f"features.{place}.bias"] = 0.1 * torch.randn(width, generator=source)
        inputs, place = width, place + 2
    return weights


@pytest.fixture(scope="module")
def trunk_file(tmp_path_factory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("trunks")

    def write(kind: str) -> Path:
        path = folder / f"{kind}.safetensors"
        if not path.exists():
            save_file(random_trunk(kind), path)
        return path

    return write


def lpips_of_torchmetrics(kind: str) -> nn.Module:
    from torchmetrics.functional.image.lpips import _LPIPS

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = _LPIPS(pretrained=True, net=kind, pnet_rand=True, use_dropout=True)
    weights = random_trunk(kind)
    state = {
        key: weights[f"features.{key.split('.', 2)[2]}"]
        for key in oracle.state_dict()
        if key.startswith("net.")
    }
    oracle.load_state_dict(state, strict=False)
    return oracle.eval()


@pytest.mark.parametrize("kind", ["alex", pytest.param("vgg", marks=pytest.mark.slow)])
def test_lpips_equals_that_of_torchmetrics_on_the_same_trunk(kind, trunk_file) -> None:
    terms = PerceptualTerms(kind=f"lpips-{kind}", weight=1.0, weights=str(trunk_file(kind)))
    made, oracle = build_perceptual(terms), lpips_of_torchmetrics(kind)
    rec, target = images(seed=1), images(seed=2)
    with torch.no_grad():
        expected = oracle(rec, target).mean()
        torch.testing.assert_close(made(rec, target), expected, rtol=1e-4, atol=1e-6)
    assert float(made(target, target)) == pytest.approx(0, abs=1e-6)


def test_lpips_is_zero_below_48_pixels(trunk_file) -> None:
    terms = PerceptualTerms(kind="lpips-alex", weight=1.0, weights=str(trunk_file("alex")))
    made = build_perceptual(terms)
    assert float(made(images(side=47, seed=1), images(side=47))) == 0
    assert float(made(images(side=48, seed=1), images(side=48))) > 0.01


def test_a_file_of_the_whole_lpips_network_gives_its_own_heads_too(tmp_path, trunk_file) -> None:
    plain = PerceptualTerms(kind="lpips-alex", weight=1.0, weights=str(trunk_file("alex")))
    whole = {}
    for key, value in build_perceptual(plain).network.network.named_buffers():
        if not key.startswith("lins."):
            whole[key] = 2 * value if key.startswith("lin") else value
    torch.save(whole, tmp_path / "lpips_with_alex.pth")
    named = PerceptualTerms("lpips-alex", 1.0, weights=str(tmp_path / "lpips_with_alex.pth"))
    pair = images(seed=1), images(seed=2)
    first, second = (build_perceptual(terms)(*pair) for terms in (plain, named))
    torch.testing.assert_close(second, 2 * first)


def test_torchs_own_download_folder_is_looked_into(trunk_file, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    terms = PerceptualTerms(kind="lpips-alex", weight=1.0)
    place = r"alexnet-owt-7be5be79\.pth is not there.*download.pytorch.org.*kind: random-conv"
    with pytest.raises(MissingPrerequisite, match=place):
        build_perceptual(terms)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "alexnet-owt-7be5be79.pth").write_bytes(trunk_file("alex").read_bytes())
    assert float(build_perceptual(terms)(images(seed=1), images())) > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"features.0.weight": torch.zeros(64, 3, 11, 11)}, r"holds no features\.0\.bias"),
        ({"a": torch.zeros(1)}, r"holds no features\.0\.weight"),
    ],
)
def test_files_without_the_trunk_are_refused(content, message, tmp_path) -> None:
    save_file(content, tmp_path / "other.safetensors")
    terms = PerceptualTerms("lpips-alex", 1.0, weights=str(tmp_path / "other.safetensors"))
    with pytest.raises(UsageError, match=message):
        build_perceptual(terms)


def test_a_trunk_of_other_shapes_is_refused(tmp_path) -> None:
    weights = random_trunk("alex")
    weights["features.0.weight"] = torch.zeros(64, 3, 7, 7)
    save_file(weights, tmp_path / "other.safetensors")
    terms = PerceptualTerms("lpips-alex", 1.0, weights=str(tmp_path / "other.safetensors"))
    with pytest.raises(UsageError, match="another trunk"):
        build_perceptual(terms)


def features_by_hand(image: np.ndarray, layers: list[nn.Conv2d]) -> list[np.ndarray]:
    """Unit-length features of one image (3, H, W), channel by channel."""
    found = []
    for layer in layers:
        padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
        step = layer.stride[0]
        maps = []
        for kernel, bias in zip(layer.weight.double(), layer.bias.double(), strict=True):
            response = signal.correlate(padded, kernel.numpy(), mode="valid")[0] + float(bias)
            maps.append(response[::step, ::step])
        image = np.stack(maps)
        image = np.where(image > 0, image, 0.2 * image)
        found.append(image / np.linalg.norm(image, axis=0))
    return found


def test_the_random_distance_equals_its_definition_by_hand() -> None:
    made = build_perceptual(PerceptualTerms("random-conv", 1.0, channels=(4, 6, 9)))
    rec, target = images(side=16, seed=1), images(side=16, seed=2)
    layers = list(made.layers.network.children())
    expected = []
    for first, second in zip(rec.double().numpy(), target.double().numpy(), strict=True):
        pairs = zip(*(features_by_hand(each, layers) for each in (first, second)), strict=True)
        expected.append(np.mean([((a - b) ** 2).sum(axis=0).mean() for a, b in pairs]))
    assert float(made(rec, target)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_random_distance_follows_from_its_seed_and_the_random_state_stays() -> None:
    before = torch.get_rng_state()
    pair = images(seed=1), images(seed=2)
    values = [float(RandomFeatureDistance((8, 8), seed=seed)(*pair)) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert values[0] == values[1]
    assert values[0] != values[2]


def test_blur_costs_more_than_brightness_of_the_same_squared_error() -> None:
    made = build_perceptual(PerceptualTerms("random-conv", 1.0))
    target = images(4)
    blurred = nn.functional.avg_pool2d(target, 3, stride=1, padding=1)
    shift = (blurred - target).square().mean().sqrt()
    assert float(made(blurred, target)) > 2 * float(made(target + shift, target))


@pytest.mark.parametrize("kind", ["lpips-alex", "random-conv"])
def test_it_is_frozen_and_gives_gradients_to_the_reconstruction(kind, trunk_file) -> None:
    weights = str(trunk_file("alex")) if kind == "lpips-alex" else None
    made = build_perceptual(PerceptualTerms(kind=kind, weight=1.0, weights=weights)).train()
    assert not list(made.parameters())
    assert made.state_dict() == {}
    rec = images(seed=1).requires_grad_()
    first = made(rec, images())
    first.backward()
    assert rec.grad is not None
    assert (rec.grad != 0).float().mean() > 0.9
    assert float(made(rec, images()).detach()) == float(first.detach())  # no dropout
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(made(rec, images()), first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "lpips-squeeze"}, r"perceptual\.kind"),
        ({"weight": -1.0}, "weight from 0 up"),
        ({"channels": []}, "positive channels"),
        ({"layers": 3}, "unknown terms: layers"),
    ],
)
def test_wrong_terms_are_refused(change, message) -> None:
    with pytest.raises(UsageError, match=message):
        PerceptualTerms.from_mapping({"kind": "random-conv", "weight": 1.0} | change)
