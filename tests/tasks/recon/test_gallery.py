"""Pictures beside a record: which, what they hold, and where none may be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image


def test_no_gallery_where_pixels_stay_local(measure, tmp_path):
    assert measure("down16", limit=2).gallery == []
    assert not list(tmp_path.rglob("*.png"))


def test_the_gallery_shows_seeded_picks_and_the_worst(tmp_path, measure):
    record = measure("down16", dataset="sample")
    reasons = {image.why for image in record.gallery}
    assert "pick" in reasons
    assert reasons <= {"pick", *(f"worst {name}" for name in ("psnr", "ssim", "ms_ssim"))}
    for image in record.gallery:
        (found,) = tmp_path.rglob(image.file)
        assert found.is_file()
        with Image.open(found) as pair, Image.open(found.with_suffix(".error.png")) as error:
            sides = np.asarray(pair).astype(int)
            gap = np.abs(sides[:, :256] - sides[:, 256:]).mean(axis=2)
            want = np.rint(np.clip(gap / 64, 0, 1) * 255)
            np.testing.assert_array_equal(np.asarray(error), want)
    rows = pd.read_parquet(next(tmp_path.rglob("*.parquet"))).set_index("id")
    for image in record.gallery:
        assert image.scores["psnr"] == pytest.approx(rows.psnr[image.id], abs=1e-6)
    worst = [i.id for i in record.gallery if "worst psnr" in (i.why, *i.also)]
    assert set(worst) == set(rows.psnr.nsmallest(5).index)
