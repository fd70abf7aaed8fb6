"""Rank correlations between metrics and between tasks, and histories."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.stats import spearmanr

from medbench.leaderboard.site.agreement import spearman
from medbench.leaderboard.site.build import build_site


@pytest.mark.parametrize("levels", [3, 1000])
def test_the_rank_correlation_is_that_of_scipy_with_and_without_ties(rng, levels):
    for _ in range(20):
        a, b = rng.integers(0, levels, (2, 12)).astype(float)
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_what_is_constant_has_no_order():
    assert spearman([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


def test_tasks_are_compared_over_the_tokenizers_that_both_rank(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    table = re.search(r'<table class="heat agreement">.*?</table>', text, re.DOTALL).group()
    assert "Reconstruction: PSNR" in table
    assert "Linear probe: mAP" in table
    assert re.findall(r'<td class="num h0" title="(.*?)">(.*?)</td>', table) == [
        ("4 tokenizers with both", "1.00")
    ]


def test_metrics_of_a_table_are_compared_with_better_upwards(tmp_path, record_data, store):
    # SSIM falls where PSNR rises, and a distance falls with it, which is better.
    for index in range(5):
        data = record_data(f"t{index}", psnr=25.0 + index)
        for metric in data["metrics"]:
            if metric["name"] == "ssim" and metric["value"] is not None:
                metric |= {"value": 0.9 - index / 20, "low": None, "high": None}
        store(tmp_path / "results", data)
    site = build_site(tmp_path / "results", tmp_path / "site").output
    (board,) = (site / "board").glob("*.html")
    table = re.search(
        r'<table class="heat agreement">.*?</table>', board.read_text(encoding="utf-8"), re.DOTALL
    ).group()
    row = next(line for line in table.split("<tr>") if 'class="stick">SSIM</th>' in line)
    assert re.findall(r"<td[^>]*>([^<]+)</td>", row) == ["−1.00"]
    assert 'class="num h6"' in row


def test_too_few_rows_give_no_correlation(tmp_path, record_data, store):
    for index in range(3):
        store(tmp_path / "results", record_data(f"t{index}", psnr=25.0 + index))
    site = build_site(tmp_path / "results", tmp_path / "site").output
    (board,) = (site / "board").glob("*.html")
    assert "Do the metrics agree?" not in board.read_text(encoding="utf-8")


def test_a_history_is_drawn_and_its_steps_down_are_marked(tmp_path, record_data, store):
    values = [30.0, 30.1, 28.0, 27.9]
    for day, psnr in enumerate(values, start=1):
        data = record_data("a", psnr=psnr, created=f"2026-01-{day:02}T00:00:00+00:00")
        data["info"]["weights_sha256"] = data["identity"]["weights_sha256"] = f"{day}" * 64
        data["environment"] |= {"git_commit": f"{day}" * 40}
        store(tmp_path / "results", data)
    site = build_site(tmp_path / "results", tmp_path / "site").output
    text = (site / "tokenizer" / "a@v.html").read_text(encoding="utf-8")
    figure = re.search(r'<figure class="figure" id="history-.*?</figure>', text, re.DOTALL).group()
    assert figure.count("▼</text>") == 1
    assert "1 step down beyond both intervals" in figure
    lines = re.findall(r"<tr><th.*?</tr>", figure.split("<tbody>")[1], re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]
    assert [cell[3] for cell in cells] == [f"{value:.2f}" for value in values]
    assert [cell[2] for cell in cells] == [f"{day}" * 10 for day in range(1, 5)]
    assert [bool(cell[5]) for cell in cells] == [False, False, True, False]
    places = re.search(r'<polyline points="(.*?)"', figure).group(1).split()
    heights = [float(place.split(",")[1]) for place in places]
    assert np.array_equal(np.argsort(heights), np.argsort(-np.array(values)))
