"""How hard medsynth is: a linear probe on raw pixels must fail, a small trained network must not.

Per modality the classes are told apart (macro one-vs-rest AUC on the test split) by

* a multinomial logistic regression on all pixels of the image shrunk to 32 and to 64 pixels,
  standardised, its L2 strength chosen on the validation split: at most 0.75;
* a convolutional network of 0.25 million weights at 128 pixels, trained on the same images for at
  most some minutes: at least 0.85.

Rendered images are kept in the work folder under a hash of the first ones, so that an interrupted
run goes on and a generator whose pixels changed is rendered afresh.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import math
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from tabulate import tabulate
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medbench.harness.datasets import medsynth
from medbench.harness.locations import cache_root

SIDE = 128
PROBE_SIDES = (32, 64)
STRENGTHS = (10.0, 1.0, 1e-1, 1e-2)
"""Strongest first: each fit starts from the one before."""
EASIEST_PROBE, HARDEST_NETWORK = 0.75, 0.85
UPRIGHT = ("ct", "mri", "ultrasound", "xray")
"""Modalities in which up and down differ: only mirrored left to right in training."""


@dataclass(frozen=True)
class Images:
    """Images uint8 (n, 3, side, side) and the class number of each."""

    pixels: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Budget:
    """Training time at most, the validation AUC that ends it early, threads and seed.

    Time is CPU time divided by the threads, so that neighbours on the machine do not count.
    """

    minutes: float
    enough: float
    threads: int
    seed: int = 0

    def seconds_since(self, begun: float) -> float:
        """Seconds of training since `begun`, a value of `time.process_time`."""
        return (time.process_time() - begun) / self.threads


def render_one(job: tuple[str, str, int]) -> tuple[np.ndarray, int]:
    """Render one image and its class number."""
    modality, split, index = job
    sample = medsynth.generate(modality, index, split=split, size=SIDE)
    return sample.image.transpose(2, 0, 1), medsynth.CLASSES[modality].index(sample.label)


def pixel_hash(modality: str, split: str) -> str:
    """Hash of the first images of a split."""
    first = [render_one((modality, split, index))[0].tobytes() for index in range(12)]
    return hashlib.sha256(b"".join(first)).hexdigest()[:12]


def load_images(work: Path, modality: str, split: str, count: int, workers: int) -> Images:
    """Read `count` images of a split from the work folder, or render them."""
    path = work / f"{modality}-{split}-{count}-{pixel_hash(modality, split)}.npz"
    if not path.exists():
        jobs = [(modality, split, index) for index in range(count)]
        with multiprocessing.Pool(workers) as pool:
            pixels, labels = zip(*pool.imap(render_one, jobs, chunksize=32), strict=True)
        work.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, pixels=np.stack(pixels), labels=np.asarray(labels))
        partial.rename(path)
    with np.load(path) as stored:
        return Images(torch.from_numpy(stored["pixels"]), torch.from_numpy(stored["labels"]))


def class_aucs(scores: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """Mann-Whitney statistic of each class against the rest."""
    areas = []
    for index in range(scores.shape[1]):
        positive = (labels == index).numpy()
        ranks = rankdata(scores[:, index].numpy())
        hits, others = int(positive.sum()), int((~positive).sum())
        areas.append((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * others))
    return areas


def macro_auc(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean over the classes of the AUC of class against rest."""
    return float(np.mean(class_aucs(scores, labels)))


def flatten(images: Images, side: int) -> torch.Tensor:
    """Pixels as rows of float32; one channel where the image is grey."""
    pixels = images.pixels
    if bool((pixels[:8, 0] == pixels[:8, 1]).all()):
        pixels = pixels[:, :1]
    small = F.interpolate(pixels.float(), size=(side, side), mode="area")
    return small.flatten(1)


def probe(train: Images, val: Images, test: Images, side: int) -> float:
    """Test AUC of the logistic regression whose strength is best on `val`."""
    rows = [flatten(part, side) for part in (train, val, test)]
    mean, deviation = rows[0].mean(0), rows[0].std(0) + 1e-3
    rows = rotate([(part - mean) / deviation for part in rows])
    classes = int(train.labels.max()) + 1
    best, answer = -1.0, math.nan
    weight = torch.zeros(rows[0].shape[1], classes, requires_grad=True)
    offset = torch.zeros(classes, requires_grad=True)
    for strength in STRENGTHS:
        fit_logistic(rows[0], train.labels, weight, offset, strength)
        with torch.no_grad():
            reached = macro_auc(rows[1] @ weight + offset, val.labels)
            if reached > best:
                best, answer = reached, macro_auc(rows[2] @ weight + offset, test.labels)
    return answer


def rotate(rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Coordinates in the span of the first part's rows, where there are fewer rows than columns.

    The best weights of an L2-regularised regression lie in that span, so the fit is the same.
    """
    if rows[0].shape[0] >= rows[0].shape[1]:
        return rows
    values, vectors = torch.linalg.eigh((rows[0] @ rows[0].T).double())
    kept = values > 1e-7 * values[-1]
    basis = (vectors[:, kept] / values[kept].sqrt()).float()
    return [part @ (rows[0].T @ basis) for part in rows]


def fit_logistic(
    rows: torch.Tensor,
    labels: torch.Tensor,
    weight: torch.Tensor,
    offset: torch.Tensor,
    strength: float,
) -> None:
    """Minimise cross entropy + strength · |weight|² / 2 in place."""
    solver = torch.optim.LBFGS([weight, offset], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = F.cross_entropy(rows @ weight + offset, labels)
        value = value + 0.5 * strength * (weight * weight).sum()
        value.backward()
        return value

    solver.step(loss)


def make_network(classes: int) -> nn.Module:
    """Four stages of two 3 × 3 convolutions, mean and maximum over the image, a linear layer."""
    layers: list[nn.Module] = []
    before = 3
    for width in (16, 32, 64, 112):
        for stride in (2, 1):
            layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.ReLU()]
            before = width
    network = nn.Sequential(*layers, _Pool(), nn.Dropout(0.2), nn.Linear(2 * before, classes))
    return network.to(memory_format=torch.channels_last)


class _Pool(nn.Module):
    """Mean and maximum over the image, side by side."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)


def scale(pixels: torch.Tensor) -> torch.Tensor:
    """Centre uint8 pixels at 0."""
    return ((pixels.float() / 255 - 0.5) * 4).contiguous(memory_format=torch.channels_last)


def augment(batch: torch.Tensor, upright: bool, generator: torch.Generator) -> torch.Tensor:
    """Mirror and, where up and down are alike, turn each image at random; change the gain."""
    side = torch.rand(len(batch), 3, generator=generator) < 0.5
    batch = torch.where(side[:, 0, None, None, None], batch.flip(3), batch)
    if not upright:
        batch = torch.where(side[:, 1, None, None, None], batch.flip(2), batch)
        batch = torch.where(side[:, 2, None, None, None], batch.transpose(2, 3), batch)
    gain = 1 + 0.1 * torch.randn(len(batch), 1, 1, 1, generator=generator)
    return batch * gain + 0.1 * torch.randn(len(batch), 1, 1, 1, generator=generator)


@torch.no_grad()
def predict(network: nn.Module, images: Images) -> torch.Tensor:
    """Logits of all images."""
    network.eval()
    return torch.cat([network(scale(part)) for part in images.pixels.split(100)])


def train_network(modality: str, train: Images, val: Images, budget: Budget) -> nn.Module:
    """Train for the time allowed; return the network of the epoch that is best on `val`."""
    torch.manual_seed(budget.seed)
    generator = torch.Generator().manual_seed(budget.seed)
    network = make_network(len(medsynth.CLASSES[modality]))
    # The running mean of the weights is what is judged: it settles long before the weights do.
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.98), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    begun, best, kept = time.process_time(), -1.0, mean
    share = 0.0
    while share < 1:
        network.train()
        for rows in torch.randperm(len(train.labels), generator=generator).split(48):
            share = budget.seconds_since(begun) / (60 * budget.minutes)
            for group in optimizer.param_groups:
                group["lr"] = 2e-3 * min(1.0, 0.02 + 0.5 * (1 + math.cos(math.pi * min(1, share))))
            batch = augment(scale(train.pixels[rows]), modality in UPRIGHT, generator)
            loss = F.cross_entropy(network(batch), train.labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mean.update_parameters(network)
            if share >= 1:
                break
        reached = macro_auc(predict(mean, val), val.labels)
        print(f"  {share:.0%} of the time, validation AUC {reached:.3f}", flush=True)
        if reached > best:
            best, kept = reached, copy.deepcopy(mean)
        if best >= budget.enough:
            break
    return kept


def measure(modality: str, options: argparse.Namespace) -> list[str]:
    """One row of the table."""
    counts = {"train": options.train, "val": options.val, "test": options.test}
    train, val, test = (
        load_images(options.work, modality, split, count, options.threads)
        for split, count in counts.items()
    )
    linear = [probe(train, val, test, side) for side in PROBE_SIDES]
    print(modality, *(f"{value:.3f}" for value in linear), flush=True)
    budget = Budget(options.minutes, options.enough, options.threads)
    begun = time.process_time()
    network = train_network(modality, train, val, budget)
    seconds = budget.seconds_since(begun)
    scores = predict(network, test)
    reached = macro_auc(scores, test.labels)
    good = max(linear) <= EASIEST_PROBE and reached >= HARDEST_NETWORK
    areas = zip(medsynth.CLASSES[modality], class_aucs(scores, test.labels), strict=True)
    each = ", ".join(f"{name} {area:.2f}" for name, area in areas)
    cells = [modality, *(f"{value:.3f}" for value in linear), f"{reached:.3f}"]
    return [*cells, f"{seconds:.0f}", "yes" if good else "NO", each]


def main() -> None:
    """Measure the modalities asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modality", action="append", choices=medsynth.MODALITIES)
    parser.add_argument("--minutes", type=float, default=5.0, help="training time, per modality")
    parser.add_argument("--enough", type=float, default=0.9, help="validation AUC to stop at")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--val", type=int, default=300)
    parser.add_argument("--test", type=int, default=600)
    parser.add_argument("--work", type=Path, default=None, help="default: in MEDBENCH_CACHE")
    options = parser.parse_args()
    options.work = options.work or cache_root() / "medsynth_difficulty"
    torch.set_num_threads(options.threads)
    headings = ["modality", *(f"pixels {side}" for side in PROBE_SIDES), "network", "train s"]
    rows = []
    for modality in options.modality or medsynth.MODALITIES:
        rows.append(measure(modality, options))
        print(*rows[-1], sep="  ", flush=True)
    print(
        tabulate(rows, headers=[*headings, "within bounds", "network, by class"], tablefmt="simple")
    )


if __name__ == "__main__":
    main()
