"""A small data set with parts, a preset of seconds, and a way to run the task in-process."""

from __future__ import annotations

import copy
import shutil
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from medbench.harness.protocol import Encoding, TokenizerInfo, code_bits
from medbench.harness.request import Request
from medbench.harness.runner import execute

PRESET = """
extends: smoke
summary: as small as it gets
network: {dim: 32, n_layer: 1}
steps: 3
optimiser: {warmup_steps: 0}
step_positions: 64
step_logits: 256
train_images: 9
samples: 6
seeds: 2
diversity_images: 2
classifier_steps: 3
"""


class Blocks:
    """Sixteen blocks of an image, as eight levels of their first two channels."""

    def __init__(self, *, variant, config, weights, device):
        del config, weights, device
        self.info = TokenizerInfo(
            name="blocks",
            variant=variant,
            kind="discrete",
            size_multiple=64,
            downsample=64,
            layout="raster",
            codebooks=2,
            codebook_size=8,
            positions=16,
            latent_dims=2,
            bits_per_image=code_bits(2, 16, 8),
        )

    def encode(self, images):
        means = torch.nn.functional.avg_pool2d(images, 64)[:, :2].flatten(2)
        return Encoding(indices=(means * 7.99).long())

    def decode(self, encoding):
        levels = ((encoding.indices.float() + 0.5) / 8).unflatten(2, (4, 4))
        images = torch.cat([levels, levels[:, :1]], dim=1)
        ramp = torch.linspace(-0.05, 0.05, 64).repeat(4)
        return images.repeat_interleave(64, 2).repeat_interleave(64, 3) + ramp

    def features(self, images):
        return self.encode(images).indices.transpose(1, 2).float()


@pytest.fixture(scope="session", autouse=True)
def blocks():
    """`toy_blocks:Blocks` is a reference to a tokenizer that costs nothing."""
    module = ModuleType("toy_blocks")
    module.Blocks = Blocks
    sys.modules["toy_blocks"] = module
    yield "toy_blocks:Blocks"
    del sys.modules["toy_blocks"]


@pytest.fixture(scope="session")
def write_sets():
    """write_sets(folder, {"train": 9}) -> the folder, with `a.npz` and `b.npz` of such splits."""

    def write(root, counts):
        rng = np.random.default_rng(0)
        for name, sigma in (("a", (2, 2)), ("b", (0, 6))):
            arrays = {}
            for split, count in counts.items():
                noise = np.stack(
                    [gaussian_filter(rng.normal(size=(28, 28)), sigma) for _ in range(count)]
                )
                levels = (noise - noise.min()) / np.ptp(noise) * 255
                arrays[f"{split}_images"] = levels.astype(np.uint8)
                arrays[f"{split}_labels"] = (np.arange(count) % 2)[:, None]
            np.savez(root / f"{name}.npz", **arrays)
        return root

    return write


@pytest.fixture(scope="session")
def two_sets(tmp_path_factory, write_sets):
    """Two npz files, of blobs and of stripes, as one set with parts."""
    return write_sets(tmp_path_factory.mktemp("two"), {"train": 9, "val": 5, "test": 7})


@pytest.fixture(scope="session")
def micro(tmp_path_factory):
    path = tmp_path_factory.mktemp("preset") / "micro.yaml"
    path.write_text(PRESET, encoding="utf-8")
    return path


def _run(
    tokenizer,
    root,
    output,
    *,
    preset,
    dataset="union",
    generator=None,
    modality="mri",
    **options,
):
    places = {modality: root / "a.npz", "xray": root / "b.npz"}
    sets = [f"npz@{each}:{place}" for each, place in places.items()]
    chosen = f"union:{','.join(sets)}" if dataset == "union" else sets[0]
    taken = {"preset": str(preset)} | ({"generator": str(generator)} if generator else {})
    request = Request(
        tokenizers=[tokenizer],
        tasks=["synthesis"],
        dataset=chosen,
        output=output,
        options=taken,
        **options,
    )
    (cell,) = execute(request).cells
    if cell.error is not None:
        raise cell.error
    return cell.record


@pytest.fixture
def synthesise(two_sets, micro, tmp_path):
    """synthesise("toy_blocks:Blocks", seed=1) -> the record."""

    def run(tokenizer, *, output="results", root=two_sets, preset=micro, **options):
        return _run(tokenizer, root, tmp_path / output, preset=preset, **options)

    return run


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of this test alone: the folder, not there yet."""
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def _first_run(two_sets, micro, blocks, tmp_path_factory):
    root = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(root / "cache"))
        record = _run(blocks, two_sets, root / "results", preset=micro)
    return root, record


@pytest.fixture
def first(_first_run, own_cache, tmp_path):
    """The record of `synthesise(blocks)`, with `own_cache` and `results` as that run left them."""
    root, record = _first_run
    shutil.copytree(root / "cache", own_cache)
    shutil.copytree(root / "results", tmp_path / "results")
    return copy.deepcopy(record)
