"""The FID Inception's forward pass against pytorch-fid's own, on one set of weights.

The weights are random with batch-norm statistics that keep signals up: time does not depend on
them, and the largest relative difference of features is printed beside the seconds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from pytorch_fid import inception as pytorch_fid
from timing import compare

from medbench.harness.file_hashes import file_sha256
from medbench.harness.metrics.extractors.inception import InceptionExtractor


def random_state() -> dict[str, torch.Tensor]:
    """Weights of the right shapes."""
    with (
        patch.object(pytorch_fid, "load_state_dict_from_url", lambda *_, **__: {}),
        patch.object(torch.nn.Module, "load_state_dict", lambda *_: None),
    ):
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    state = random_state()
    with patch.object(pytorch_fid, "load_state_dict_from_url", lambda *_, **__: state):
        index = pytorch_fid.InceptionV3.BLOCK_INDEX_BY_DIM[2048]
        peer = pytorch_fid.InceptionV3([index]).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save(state, path)
        ours = InceptionExtractor(path, sha256=file_sha256(path))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (options.images, 256, 256, 3), dtype=np.uint8)

    def theirs() -> np.ndarray:
        with torch.inference_mode():
            # pytorch-fid's own loader gives planes; a permuted view would bring our layout to it.
            inputs = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255
            return peer(inputs)[0].flatten(1).numpy()

    want = theirs()
    difference = np.abs(ours(images) - want).max() / np.abs(want).max()
    compare(
        f"Inception, {options.images} images of 256 pixels",
        {"pytorch-fid": theirs, "medbench": lambda: ours(images)},
        peer="pytorch-fid",
        rounds=options.rounds,
    )
    print(f"largest difference of a feature, of the largest feature: {difference:.1e}")


if __name__ == "__main__":
    main()
