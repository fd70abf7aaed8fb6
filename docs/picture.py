"""Make docs/recon.png: originals above, their reconstructions by meditok@tiny below.

Only medsynth and sample pixels: both may be published.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medbench.harness.datasets.store import ImageStore, ingest
from medbench.harness.registry import load_dataset
from medbench.harness.tokenizer_registry import load_tokenizer
from medbench.tasks.recon.measure import SCORES, reconstruct

SIDE, GAP, LINE = 192, 6, 20
GROUND, INK = (255, 255, 255), (30, 30, 30)


def rows_of(store: ImageStore, groups: list[str]) -> list[int]:
    """The first row of each group."""
    return [next(i for i, row in enumerate(store.rows) if row.group == g) for g in groups]


def main() -> None:
    """Reconstruct one image per modality and draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "recon.png")
    output = parser.parse_args().output
    synthetic, real = ingest(load_dataset("medsynth"), limit=2), ingest(load_dataset("sample"))
    chosen = [
        (synthetic, i)
        for i in rows_of(synthetic, list(dict.fromkeys(r.group for r in synthetic.rows)))
    ]
    chosen += [(real, i) for i in rows_of(real, ["fundus", "pathology"])]
    tokenizer = load_tokenizer("meditok")
    font = ImageFont.load_default(size=13)
    width = len(chosen) * (SIDE + GAP) - GAP
    sheet = Image.new("RGB", (width, 2 * SIDE + GAP + 2 * LINE), GROUND)
    draw = ImageDraw.Draw(sheet)
    for column, (store, row) in enumerate(chosen):
        original = store.read(row, row + 1)
        back = reconstruct(tokenizer, original, batch=1, device="cpu").images
        left = column * (SIDE + GAP)
        title = store.rows[row].group + (" (real)" if store is real else "")
        draw.text((left, 2), title, INK, font)
        for top, pixels in ((LINE, original[0]), (LINE + SIDE + GAP, back[0])):
            shown = Image.fromarray(np.asarray(pixels)).resize(
                (SIDE, SIDE), Image.Resampling.LANCZOS
            )
            sheet.paste(shown, (left, top))
        psnr, ssim = (float(SCORES[name](original, back)[0]) for name in ("psnr", "ms_ssim"))
        caption = f"{psnr:.1f} dB, MS-SSIM {ssim:.3f}"
        draw.text((left, LINE + 2 * SIDE + GAP + 2), caption, INK, font)
    sheet.save(output, optimize=True)


if __name__ == "__main__":
    main()
