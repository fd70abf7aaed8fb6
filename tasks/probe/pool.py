"""The images that `lp-paper` scores: the paper's pools, drawn from ids and labels alone.

The paper prints how many images each set was scored on, not which. Two of its counts only fit
validation and test images together (pneumonia 1,148, breast 234), and 500 fundus images are more
than the test part has; everywhere else medbench draws from the official test part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness.datasets.dataset import hash_order
from ...harness.datasets.labels import strata_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .groups import Group

RULE = "paper-pool-1"
"""Name and version of the draw."""
SEED = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """Which images the paper's protocol scores of a set.

    Attributes:
        parts: from which they come.
        size: how many of each group; None: all.
    """

    parts: tuple[str, ...] = ("test",)
    size: int | None = 500

    def facts(self) -> dict[str, Any]:
        """For the definition."""
        drawn = {"images": self.size, "rule": RULE, "seed": SEED} if self.size else {}
        return {"parts": list(self.parts), **({"images": "all"} | drawn)}


POOLS = {
    "breastmnist": Pool(("val", "test"), None),
    "pneumoniamnist": Pool(("val", "test"), None),
    "retinamnist": Pool(("val", "test")),
}
"""By the id of the card."""
OTHERS = Pool()
"""Of the paper's other sets, and of the sets that it does not have."""


def pool_of(dataset_id: str) -> Pool:
    """The pool of a data set's id, such as `retinamnist@224`."""
    return POOLS.get(dataset_id.partition("@")[0], OTHERS)


def paper_pool(group: Group, dataset_id: str) -> dict[str, NDArray[np.int64]]:
    """Places of the scored images among the images of each part of the pool, ascending."""
    pool = pool_of(dataset_id)
    parts = [group.parts[name] for name in pool.parts]
    ids = [each for part in parts for each in part.ids]
    labels = [each for part in parts for each in part.labels]
    chosen = drawn(ids, labels, pool.size)
    found, start = {}, 0
    for name, part in zip(pool.parts, parts, strict=True):
        inside = (chosen >= start) & (chosen < start + len(part.ids))
        found[name] = chosen[inside] - start
        start += len(part.ids)
    return found


def drawn(ids: Sequence[str], labels: Sequence[str], size: int | None) -> NDArray[np.int64]:
    """Rows of exactly `size` images (all where there are fewer), ascending.

    Classes keep their proportions by largest remainder, at least one image each; within a class
    the images with the smallest SHA-256 of rule, seed and id are taken. An image of several
    labels counts for the rarest of them.
    """
    if size is None or len(ids) <= size:
        return np.arange(len(ids))
    strata = strata_of(labels)
    left = _shares(Counter(strata), size)
    chosen = []
    for row in hash_order([f"{RULE}\0{SEED}\0{each}" for each in ids]):
        if left[strata[row]] > 0:
            left[strata[row]] -= 1
            chosen.append(row)
    return np.sort(np.array(chosen, dtype=np.int64))


def _shares(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """Images to take of each class; `size` together, unless there are more classes than that."""
    total = sum(counts.values())
    shares = {name: max(1, size * counts[name] // total) for name in sorted(counts)}

    def missing(name: str) -> int:
        return size * counts[name] - shares[name] * total

    while sum(shares.values()) < size:
        shares[max(shares, key=missing)] += 1
    while sum(shares.values()) > size and max(shares.values()) > 1:
        shares[min((name for name in shares if shares[name] > 1), key=missing)] -= 1
    return shares


def pool_ids(
    dataset: str, *, limit: int | None = None, data_root: Path | None = None
) -> dict[str, list[str]]:
    """Ids of the images that `lp-paper` scores of a data set, by group.

    They are those of a run with the same limit, on any machine.

    Example:
        ``pool_ids("retinamnist@224")["fundus"]`` has 500 ids, ``val/...`` and ``test/...``.

    Raises:
        UsageError: the set has no labels, or its scored part is one that is learnt on.
        MetricError: a group cannot be probed.
    """
    from ...harness.datasets.parts import part_of
    from ...harness.datasets.store import ingest
    from ...harness.registry import load_dataset
    from .groups import make_group
    from .splits import split_images
    from .task import TASK

    scored = load_dataset(dataset, data_root=data_root)
    stores = {"test": ingest(scored, limit=limit)}
    for name, most in TASK.parts(scored, {}, limit).items():
        stores[name] = ingest(part_of(scored, name, data_root=data_root), limit=most)
    split, several = split_images(stores), bool(getattr(scored, "multi_label", False))
    found = {}
    for name in dict.fromkeys(split.parts["test"].groups.tolist()):
        group = make_group(name, split.parts, multi_label=several)
        places = paper_pool(group, scored.id)
        found[name] = [id_ for part in places for id_ in group.parts[part].ids[places[part]]]
    return found
