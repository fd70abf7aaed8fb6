"""Contact sheets of medsynth: docs/medsynth_<modality>.jpg, a row per class.

With MEDBENCH_DATA set, also sheets of medsynth beside real images, for looking at only: they go
under results/sheets, which git ignores, because owners' pixels must not be published.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medbench.harness.datasets import medsynth
from medbench.harness.locations import data_root

SIDE, GAP, MARGIN, LINE = 152, 4, 22, 20
GROUND, INK = (255, 255, 255), (30, 30, 30)
REAL = "recon"
"""Folder of the data root that holds one folder of images per modality."""


def draw_sheet(title: str, rows: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    """Lay out rows of square pictures, each row with its name turned upright at the left."""
    columns = max(len(pictures) for _, pictures in rows)
    width = MARGIN + columns * (SIDE + GAP)
    sheet = Image.new("RGB", (width, LINE + len(rows) * (SIDE + GAP)), GROUND)
    font = ImageFont.load_default(size=13)
    ImageDraw.Draw(sheet).text((MARGIN, 2), title, INK, font)
    for number, (name, pictures) in enumerate(rows):
        top = LINE + number * (SIDE + GAP)
        label = Image.new("RGB", (SIDE, MARGIN - 4), GROUND)
        ImageDraw.Draw(label).text((SIDE // 2, 1), name, INK, font, anchor="ma")
        sheet.paste(label.rotate(90, expand=True), (0, top))
        for column, picture in enumerate(pictures):
            shown = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(shown, (MARGIN + column * (SIDE + GAP), top))
    return sheet


def class_rows(modality: str, count: int) -> list[tuple[str, list[Image.Image]]]:
    """The first `count` training images of each class, mild to severe."""
    found: dict[str, list[medsynth.Sample]] = {name: [] for name in medsynth.CLASSES[modality]}
    index = 0
    while any(len(samples) < count for samples in found.values()):
        sample = medsynth.generate(modality, index, split="train")
        if len(found[sample.label]) < count:
            found[sample.label].append(sample)
        index += 1
    rows = []
    for name, samples in found.items():
        samples.sort(key=lambda sample: sample.state["severity"])
        pictures = [Image.fromarray(sample.image) for sample in samples]
        rows.append((name.replace("_", " "), pictures))
    return rows


def beside_real(modality: str, folder: Path, count: int) -> Image.Image:
    """Rows of medsynth and of real images in turn; real ones evenly spaced in their folder."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    chosen = np.linspace(0, len(files) - 1, 2 * count).round().astype(int)
    real = [Image.open(files[place]).convert("RGB") for place in chosen]
    made = [
        # Steps over the neighbours, which are of one patient.
        Image.fromarray(medsynth.generate(modality, 5 * index, split="test").image)
        for index in range(2 * count)
    ]
    rows = []
    for first in (0, count):
        rows.append(("medsynth", made[first : first + count]))
        rows.append(("real", real[first : first + count]))
    return draw_sheet(f"{modality}: medsynth and real images", rows)


def main() -> None:
    """Write all sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    parser.add_argument("--private", type=Path, default=Path("results/sheets"))
    parser.add_argument("--modality", action="append", choices=medsynth.MODALITIES)
    parser.add_argument("--count", type=int, default=7, help="images per row")
    options = parser.parse_args()
    root = data_root()
    for modality in options.modality or medsynth.MODALITIES:
        title = f"medsynth {medsynth.GENERATOR_VERSION}, {modality}: mild to severe"
        sheet = draw_sheet(title, class_rows(modality, options.count))
        sheet.save(options.output / f"medsynth_{modality}.jpg", quality=85, optimize=True)
        folder = root / REAL / modality if root else None
        if folder is not None and folder.is_dir():
            options.private.mkdir(parents=True, exist_ok=True)
            sheet = beside_real(modality, folder, options.count)
            sheet.save(options.private / f"{modality}.png")


if __name__ == "__main__":
    main()
