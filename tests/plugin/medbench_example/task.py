"""A task of one number: how much the mean brightness changes."""

import numpy as np
import pandas as pd
import torch

from medbench.harness.record import Definition, Metric
from medbench.harness.task import Outcome


class Brightness:
    """Mean absolute change of an image's mean brightness, as PSNR-like decibels of it."""

    name = "brightness"
    default_dataset = "stripes"
    stage_version = 1
    seeded = False

    def definitions(self, plan):
        return {"psnr": Definition(id="brightness-db-1", facts={"split": plan.split})}

    def run(self, cell):
        images = cell.store.read(0, len(cell.store))
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        back = cell.tokenizer.decode(cell.tokenizer.encode(tensor)).clamp(0, 1)
        change = (tensor.mean(dim=(1, 2, 3)) - back.mean(dim=(1, 2, 3))).abs().mean().item()
        definition = cell.definitions["psnr"]
        metric = Metric(
            name="psnr",
            group="all",
            value=min(100.0, -20 * np.log10(max(change, 1e-5))),
            n=len(images),
            unit="dB",
            direction="higher",
            definition=definition.id,
            definition_hash=definition.hash,
        )
        table = pd.DataFrame({"id": [row.id for row in cell.store.rows]})
        return Outcome(metrics=[metric], per_image=table)


TASK = Brightness()
