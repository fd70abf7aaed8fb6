from __future__ import annotations

import itertools
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest

from medbench.leaderboard.site.cells import Value
from medbench.leaderboard.site.plot_labels import Box, place
from medbench.leaderboard.site.plot_rate import Point, pareto
from medbench.leaderboard.site.scales import drawable, scale_over
from medbench.leaderboard.site.svg import element


def points(rng, count=40, kind="discrete"):
    row = SimpleNamespace(kind=kind, ranked=True, status="ok", name="x")
    return [Point(row, float(b), Value("", value=float(v))) for b, v in rng.random((count, 2))]


@pytest.mark.parametrize("direction", ["higher", "lower"])
def test_the_front_holds_exactly_the_points_that_none_beats(rng, direction):
    made = points(rng)
    sign = -1 if direction == "lower" else 1

    def beaten(p):
        others = [q for q in made if q is not p]
        return any(q.bits <= p.bits and sign * q.value >= sign * p.value for q in others)

    assert set(map(id, pareto(made, direction))) == {id(p) for p in made if not beaten(p)}


def test_latents_that_are_no_codes_and_unranked_rows_define_no_front(rng):
    assert pareto(points(rng, kind="continuous"), "higher") == []
    made = points(rng, 5)
    made[0].row.ranked = False
    assert pareto(made, "higher") == []


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("ends", [(0.1, 0.2), (0.006, 2.0), (14.2, 37.4), (5.0, 5.0), (1e-5, 9e4)])
def test_axes_hold_their_values_and_label_round_numbers(ends, logarithmic):
    scale = scale_over(ends, 0, 100, logarithmic=logarithmic)
    assert all(0 < scale(value) < 100 for value in ends)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 14
    for value, text in ticks:
        assert 0 <= scale(value) <= 100
        assert float(text.replace("−", "-")) == pytest.approx(value, rel=0.01, abs=1e-12)


def test_equal_values_get_an_axis_whose_labels_differ():
    for value in (0.0, 0.5, 30.0):
        texts = [text for _, text in scale_over([value, value], 0, 100).ticks()]
        assert len(set(texts)) == len(texts) >= 3
        assert max(map(len, texts)) <= 6


def test_an_outlier_does_not_flatten_a_plot():
    low, high = drawable([20.0, 21.0, 22.0, 23.0, 1e12])
    assert low <= 20.0
    assert 23.0 <= high < 1e4


def test_labels_cover_neither_each_other_nor_points(rng):
    made = [(float(x), float(y), "tokenizer@v") for x, y in rng.uniform(20, 480, (30, 2))]
    spots = place(made, frame=Box(0, 0, 500, 500))
    boxes = []
    for spot in filter(None, spots):
        width = len("tokenizer@v") * 6.0
        left = {"start": spot.x, "end": spot.x - width, "middle": spot.x - width / 2}[spot.anchor]
        boxes.append(Box(left, spot.y - 8, left + width, spot.y))
    assert len(boxes) > 15
    assert not any(a.meets(b) for a, b in itertools.combinations(boxes, 2))


def test_svg_escapes_what_it_is_given():
    made = element("text", "</text><script>", data_row='"><x>')
    assert str(made) == ('<text data-row="&#34;&gt;&lt;x&gt;">&lt;/text&gt;&lt;script&gt;</text>')


def test_plots_of_a_built_board_have_names_numbers_and_finite_places(site, board):
    text = (site / board).read_text(encoding="utf-8")
    drawn = re.findall(r'<svg[^>]*class="plot".*?</svg>', text, re.DOTALL)
    assert len(drawn) >= 4
    assert text.count("Show numbers") == len(drawn)
    for svg in drawn:
        assert "<title>" in svg
        assert "<desc>" in svg
        assert "nan" not in svg
        assert "inf" not in svg
        places = re.findall(r' (?:c?[xy][12]?)="([^"]+)"', svg)
        assert all(math.isfinite(float(number)) for number in places)


def test_the_forest_shows_the_librarys_paired_differences(site, board, results):
    from medbench.harness.record_files import read_results
    from medbench.leaderboard.pairs import paired_difference

    record = {
        r.full_name: r
        for r in read_results(results).records
        if r.task == "recon" and r.dataset.id == "medsynth"
    }
    found = paired_difference(record["beta@v"], record["latent@v"], "psnr", "macro")
    text = (site / board).read_text(encoding="utf-8")
    numbers = [f"{value:.2f}".replace("-", "−") for value in (found.value, found.low, found.high)]
    assert f"beta@v − latent@v: {numbers[0]} [{numbers[1]}, {numbers[2]}]" in text
    assert np.isfinite(found.low)
