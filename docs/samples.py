"""Make docs/samples.jpg: a real image of each modality, and each tokenizer's first samples below.

    python docs/samples.py RESULTS

RESULTS is a folder of records of the synthesis task on medsynth, whose pixels may be published.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from sheets import GAP, INK, MARGIN, SIDE, draw_sheet

from medbench.harness.record import SHEET_OF_SAMPLES, Record
from medbench.harness.record_files import load_record, record_files

SAMPLES = 2
"""Of each modality and tokenizer."""
TILE = 128
"""Side of an image on the record's own sheets: the first row is real, samples are below."""


def columns_of(record: Record, folder: Path) -> dict[str, list[Image.Image]]:
    """By modality: a real image, then samples."""
    found = {}
    for picture in record.gallery:
        if picture.why == SHEET_OF_SAMPLES:
            sheet = Image.open(folder / picture.file)
            corners = [(0, 0), *((column * TILE, TILE) for column in range(SAMPLES))]
            found[picture.group] = [sheet.crop((x, y, x + TILE, y + TILE)) for x, y in corners]
    return found


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("samples.jpg"))
    asked = parser.parse_args()
    rows: list[tuple[str, list[Image.Image]]] = []
    modalities: list[str] = []
    for path in sorted(record_files(asked.results)):
        record = load_record(path)
        if (record.task, record.dataset.id, record.status) != ("synthesis", "medsynth", "ok"):
            continue
        columns = columns_of(record, path.parent)
        if not rows:
            modalities = list(columns)
            rows.append(("real", [columns[each][0] for each in modalities]))
        rows += [
            (record.tokenizer, [columns[each][number] for each in modalities])
            for number in range(1, 1 + SAMPLES)
        ]
    sheet = draw_sheet("", rows)
    for column, modality in enumerate(modalities):
        left = MARGIN + column * (SIDE + GAP)
        ImageDraw.Draw(sheet).text((left, 2), modality, INK, ImageFont.load_default(size=13))
    sheet.save(asked.output, quality=85, optimize=True)


if __name__ == "__main__":
    main()
