"""A data set that is made when it is read: four grey gradients."""

from functools import partial

import numpy as np

from medbench.harness.datasets.card import Card
from medbench.harness.datasets.dataset import Item, pick_per_group
from medbench.harness.datasets.images import Decoded, grey_to_rgb


class Stripes:
    """Gradients of four directions."""

    id = "stripes"
    split = "all"
    card = Card(
        id="stripes",
        title="stripes",
        source="an example",
        licence="CC0-1.0",
        modalities=["mri"],
        splits={"all": 4},
        layout="verified (made here)",
        how_to_get="nothing to get",
        macro=False,
        pixels="publish",
    )

    def items(self, limit=None):
        rows = [
            Item(f"stripe-{turn}", "mri", partial(load, turn), partial(str, turn))
            for turn in range(4)
        ]
        return pick_per_group(rows, limit)


def load(turn):
    grey = np.rot90(np.tile(np.arange(256, dtype=np.uint8), (256, 1)), turn)
    return Decoded(grey_to_rgb(np.ascontiguousarray(grey)))


def build(reference, *, argument, variant="", data_root=None):
    """The factory that the entry point names."""
    return Stripes()
