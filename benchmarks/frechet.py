"""Fréchet distance of 2048-d features against the forms of pytorch-fid and torchmetrics."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from scipy import linalg
from timing import compare
from torchmetrics.image.fid import _compute_fid

from medbench.harness.metrics.frechet import frechet_distance

DIMS = 2048


def square_root_form(x: np.ndarray, y: np.ndarray) -> float:
    """What pytorch-fid computes: SciPy's matrix square root of the product of covariances."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    gap = x.mean(0) - y.mean(0)
    root = linalg.sqrtm(a @ b)
    return float(gap @ gap + np.trace(a) + np.trace(b) - 2 * np.trace(root.real))


def eigenvalue_form(x: np.ndarray, y: np.ndarray) -> float:
    """What torchmetrics computes: eigenvalues of the product of covariances."""
    tensors = [torch.from_numpy(v) for v in (x, y)]
    moments = [(t.mean(0), torch.cov(t.T)) for t in tensors]
    return float(_compute_fid(*moments[0], *moments[1]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(DIMS, DIMS)) / DIMS**0.5
    for count in options.images:
        x, y = ((rng.normal(size=(count, DIMS)) @ mixing) for _ in range(2))
        frechet_distance(x[:99], y[:99])  # the first call of a library loads it
        compare(
            f"Fréchet distance, n = {count}",
            {
                "pytorch-fid (sqrtm)": lambda x=x, y=y: square_root_form(x, y),
                "torchmetrics (eigenvalues)": lambda x=x, y=y: eigenvalue_form(x, y),
                "medbench": lambda x=x, y=y: frechet_distance(x, y),
            },
            peer="pytorch-fid (sqrtm)",
            rounds=options.rounds,
        )


if __name__ == "__main__":
    main()
