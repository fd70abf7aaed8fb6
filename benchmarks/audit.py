"""`data audit`: where its threshold comes from, what it finds, and what searching hashes costs.

python benchmarks/audit.py threshold        correlations of different pictures and of copies
python benchmarks/audit.py recall FOLDER    planted copies of every image below a folder
python benchmarks/audit.py search           100,000 hashes, 1,000 queries, against brute force
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tabulate import tabulate
from timing import compare

from medbench.harness.audit.correlation import SCREEN, THRESHOLD, agreement, contrast_field
from medbench.harness.audit.duplicates import RADIUS
from medbench.harness.audit.index import HashIndex, hamming
from medbench.harness.audit.signature import FIELD_SCALE, FIELD_SIDE, Signature, sign
from medbench.harness.datasets import medsynth
from medbench.harness.datasets.images import decode_file
from medbench.harness.errors import MedbenchError

HASHES, QUERIES = 100_000, 1_000


def jpeg(rgb: np.ndarray, quality: int) -> np.ndarray:
    """Recompress."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(rgb: np.ndarray, scale: float, how: Image.Resampling) -> np.ndarray:
    """Scale both sides."""
    size = [max(8, round(side * scale)) for side in rgb.shape[1::-1]]
    return np.asarray(Image.fromarray(rgb).resize((size[0], size[1]), how))


def brighter(rgb: np.ndarray, factor: float, offset: float = 0.0) -> np.ndarray:
    """Scale and shift intensities, clipped."""
    return np.rint(rgb * factor + offset).clip(0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG 60": partial(jpeg, quality=60),
    "JPEG 75": partial(jpeg, quality=75),
    "JPEG 95": partial(jpeg, quality=95),
    "50%": partial(resized, scale=0.5, how=Image.Resampling.BICUBIC),
    "75%": partial(resized, scale=0.75, how=Image.Resampling.LANCZOS),
    "150%": partial(resized, scale=1.5, how=Image.Resampling.BILINEAR),
    "200%": partial(resized, scale=2.0, how=Image.Resampling.BICUBIC),
    "10% brighter": partial(brighter, factor=1.1),
    "10% darker": partial(brighter, factor=0.9),
}
"""What must be found."""

HARDER: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "50%, nearest pixel": partial(resized, scale=0.5, how=Image.Resampling.NEAREST),
    "26 levels brighter": partial(brighter, factor=1.0, offset=26),
    "26 levels darker": partial(brighter, factor=1.0, offset=-26),
    "50%, 10% brighter, JPEG 60": lambda rgb: jpeg(
        brighter(resized(rgb, 0.5, Image.Resampling.BICUBIC), 1.1), 60
    ),
}
"""Beyond what is promised."""


@dataclass(frozen=True)
class Looks:
    """What the two stages see of one image."""

    signature: Signature
    field: np.ndarray


def look(rgb: np.ndarray) -> Looks:
    """Both stages' view."""
    return Looks(sign(rgb), contrast_field(rgb))


@dataclass(frozen=True)
class Likeness:
    """How alike two looks are to each stage."""

    bits: int
    screen: float
    correlation: float

    @property
    def found(self) -> bool:
        """Whether the audit would report them."""
        near = self.bits <= RADIUS and self.screen >= SCREEN
        return near and self.correlation >= THRESHOLD


def small(signature: Signature) -> np.ndarray:
    """The kept field as the first stage compares it."""
    return (signature.field.astype(np.float32) / FIELD_SCALE).reshape(1, FIELD_SIDE, FIELD_SIDE)


def alike(one: Looks, other: Looks) -> Likeness:
    """Compare through every stage."""
    a, b = one.signature, other.signature
    bits = min(
        (a.luma_hash ^ b.luma_hash).bit_count(), (a.contrast_hash ^ b.contrast_hash).bit_count()
    )
    return Likeness(
        bits,
        float(agreement(small(a), small(b))[0]),
        float(agreement(one.field[None], other.field[None])[0]),
    )


def render(job: tuple[str, int]) -> np.ndarray:
    """One generated image of the training split."""
    return medsynth.generate(job[0], job[1], split="train").image


def null_pairs(looks: list[Looks]) -> list[Likeness]:
    """All pairs of different pictures."""
    return [alike(one, other) for i, one in enumerate(looks) for other in looks[:i]]


def threshold(count: int) -> None:
    """Different pictures and copies among generated images."""
    null: list[Likeness] = []
    copies: list[Likeness] = []
    rows = []
    with ProcessPoolExecutor() as pool:
        for modality in medsynth.MODALITIES:
            jobs = [(modality, index) for index in range(count)]
            pictures = [(rgb, look(rgb)) for rgb in pool.map(render, jobs, chunksize=8)]
            usable = [each for each in pictures if not each[1].signature.flat]
            different = null_pairs([seen for _, seen in usable])
            same = [
                alike(seen, look(change(rgb))) for change in COPIES.values() for rgb, seen in usable
            ]
            values = np.array([each.correlation for each in different])
            null += different
            copies += same
            shares = f"{np.median(values):.3f}", f"{np.quantile(values, 0.999):.3f}"
            lowest, bits = min(each.correlation for each in same), max(each.bits for each in same)
            facts = f"{values.max():.3f}", f"{lowest:.3f}", bits
            rows.append([modality, len(different), count - len(usable), *shares, *facts])
    columns = ["modality", "pairs", "flat", "median", "99.9%", "max", "lowest copy", "its bits"]
    print(tabulate(rows, headers=columns, tablefmt="simple"))
    for name, used in (("correlation", THRESHOLD), ("screen", SCREEN)):
        highest = max(getattr(each, name) for each in null)
        lowest = min(getattr(each, name) for each in copies)
        middle = np.tanh((np.arctanh(highest) + np.arctanh(lowest)) / 2)
        print(
            f"{name}: different at most {highest:.3f}, copies at least {lowest:.3f}, "
            f"midway in Fisher's z {middle:.3f}; in force {used} "
            f"(generator {medsynth.GENERATOR_VERSION})"
        )


def recall(folder: Path) -> None:
    """Copies of every image of a folder, and its own pairs."""
    images = []
    for path in sorted(folder.rglob("*.*")):
        try:
            images.append(decode_file(path).rgb)
        except MedbenchError:
            continue
    looks = [look(image) for image in images]
    rows = []
    for name, change in (COPIES | HARDER).items():
        results = [alike(one, look(change(rgb))) for one, rgb in zip(looks, images, strict=True)]
        rows.append(
            [
                name,
                "promised" if name in COPIES else "",
                len(results),
                sum(each.found for each in results),
                max(each.bits for each in results),
                f"{min(each.screen for each in results):.3f}",
                f"{min(each.correlation for each in results):.3f}",
            ]
        )
    columns = ["copy", "", "planted", "found", "most bits", "lowest screen", "lowest correlation"]
    print(tabulate(rows, headers=columns, tablefmt="simple"), "\n")
    pairs = null_pairs(looks)
    print(
        f"{len(pairs)} pairs of different files: {sum(p.bits <= RADIUS for p in pairs)} within "
        f"{RADIUS} bits, {sum(p.found for p in pairs)} reported, highest correlation "
        f"{max(p.correlation for p in pairs):.3f}; "
        f"{sum(each.signature.flat for each in looks)} images too flat"
    )


def brute_force(hashes: np.ndarray, queries: np.ndarray) -> int:
    """Every query against every hash."""
    found = 0
    for query in queries:
        found += int((hamming(np.broadcast_to(query, hashes.shape), hashes) <= RADIUS).sum())
    return found


def count_found(index: HashIndex, queries: np.ndarray) -> int:
    """Pairs that the index finds."""
    return sum(len(part.rows) for part in index.search(queries, RADIUS))


def search(rng: np.random.Generator) -> None:
    """Time the index, its building included, against brute force."""
    hashes = rng.integers(0, 2**64, HASHES, dtype=np.uint64)
    flips = np.array(
        [
            sum(1 << int(bit) for bit in rng.choice(64, RADIUS, replace=False))
            for _ in range(QUERIES)
        ],
        dtype=np.uint64,
    )
    queries = hashes[:QUERIES] ^ flips
    index = HashIndex(hashes)
    expected, found = brute_force(hashes, queries), count_found(index, queries)
    print(f"{found} pairs found, {expected} by brute force")
    compare(
        f"{HASHES:,} hashes, {QUERIES:,} queries, {RADIUS} bits",
        {
            "brute force (NumPy)": lambda: brute_force(hashes, queries),
            "medbench, search": lambda: count_found(index, queries),
            "medbench, build and search": lambda: count_found(HashIndex(hashes), queries),
        },
        peer="brute force (NumPy)",
    )
    begun = time.perf_counter()
    found = count_found(index, hashes)
    print(f"all {HASHES:,} against all: {found:,} pairs, {time.perf_counter() - begun:.1f} s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["threshold", "recall", "search"])
    parser.add_argument("folder", nargs="?", type=Path, help="of images, for recall")
    parser.add_argument("--count", type=int, default=100, help="images a modality, for threshold")
    given = parser.parse_args(arguments)
    if given.what == "threshold":
        threshold(given.count)
    elif given.what == "search":
        search(np.random.default_rng(0))
    elif given.folder is None:
        parser.error("recall needs a folder")
    else:
        recall(given.folder)


if __name__ == "__main__":
    main()
