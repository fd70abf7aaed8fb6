from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from medbench.__main__ import invoke
from medbench.harness.record_files import Stored
from medbench.leaderboard.comparison.curve import curve, curve_svg
from medbench.leaderboard.comparison.matrix import matrices
from medbench.leaderboard.comparison.places import places
from medbench.leaderboard.comparison.report import words


def chosen(make, tmp_path, values, spread=0.5):
    """Systems with the given PSNR, whose replicates differ by independent noise."""
    table = {}
    for seed, (name, value) in enumerate(values.items()):
        record = make(name, psnr=value)
        noise = np.random.default_rng(seed).normal(0, spread, 1000)
        from dataclasses import replace

        metrics = [
            replace(m, replicates=(value + noise).tolist())
            if (m.name, m.group) == ("psnr", "macro")
            else m
            for m in record.metrics
        ]
        stored = Stored(tmp_path / f"{name}.json", record.model_copy(update={"metrics": metrics}))
        table[record.full_name] = [stored]
    return table


def test_clear_and_unclear_pairs_are_told_apart(make, tmp_path):
    (place,) = places(chosen(make, tmp_path, {"a": 30.0, "b": 29.9, "c": 20.0}))
    (matrix,) = matrices(place, ["psnr"])
    assert list(matrix.names) == ["a@v", "b@v", "c@v"]
    assert [matrix.score(name) for name in matrix.names] == [(1, 1, 0), (1, 1, 0), (0, 0, 2)]
    texts = [words(matrix.topic, pair, matrix.plan) for pair in matrix.pairs]
    assert "a@v and b@v are not distinguishable: 0.10 dB apart" in texts[0]
    assert "are needed" in texts[0]
    assert "a@v is better than c@v by 10.00 dB" in texts[1]


def test_p_values_are_corrected_over_the_pairs(make, tmp_path):
    two = chosen(make, tmp_path, {"a": 30.0, "b": 28.3})
    many = chosen(make, tmp_path, {"a": 30.0, "b": 28.3, "c": 28.3, "d": 28.3, "e": 28.3})
    (alone,) = matrices(places(two)[0], ["psnr"])[0].pairs
    pairs = {(p.first, p.second): p for p in matrices(places(many)[0], ["psnr"])[0].pairs}
    assert alone.distinguishable
    assert pairs["a@v", "b@v"].difference.p == alone.difference.p
    assert pairs["a@v", "b@v"].adjusted_p > alone.adjusted_p


def test_the_images_needed_follow_from_the_spread(make, tmp_path):
    (pair,) = matrices(places(chosen(make, tmp_path, {"a": 30.0, "b": 29.9}))[0], ["psnr"])[0].pairs
    error = pair.difference.standard_error
    expected = pair.difference.n * ((1.959964 + 0.841621) * error / 0.1) ** 2
    assert pair.needed == pytest.approx(expected, rel=0.001)


def test_the_command_compares_names_records_and_directories(results, capsys):
    record = next(results.glob("recon/medsynth/mean@reference/*.json"))
    assert invoke(["compare", "down8", "down16", "--results", str(results), "--json"]) == 0
    (found, *_) = json.loads(capsys.readouterr().out)
    assert found["pairs"][0]["winner"] == "down8@reference"
    assert invoke(["compare", "down8", str(record), "--results", str(results)]) == 0
    assert "is better than mean@reference" in capsys.readouterr().out
    folder = str(results / "recon")
    assert invoke(["compare", str(results), folder, "--metric", "psnr"]) == 0
    assert "are equal on these 36 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["down8"], "two systems or more"),
        (["down8", "nobody"], "'nobody' is neither a path nor a tokenizer"),
        (["down8", "mean", "--metric", "psnrr"], "unknown metrics: psnrr"),
        (["down8", "mean", "--task", "vqa"], "no two systems share task vqa"),
        (["down8", "mean", "--output", "x.svg"], "--curve"),
        (["down8", "mean", "--curve", "--output", "x.gif"], "written as .svg"),
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(results, capsys, arguments, message):
    assert invoke(["compare", *arguments, "--results", str(results)]) == 2
    assert message in capsys.readouterr().err


def test_a_curve_orders_checkpoints_by_their_steps(make, tmp_path):
    systems = chosen(make, tmp_path, {"m": 20.0, "n": 25.0, "o": 23.0})
    labels = {"m@v": "net@step-2000", "n@v": "net@step-10k", "o@v": "net@step-500"}
    (place,) = places({labels[name]: stored for name, stored in systems.items()})
    line = curve(place, "psnr")
    assert [(p.step, p.value) for p in line.points] == [(500, 23.0), (2000, 20.0), (10000, 25.0)]
    picture = ET.fromstring(curve_svg(line))
    marks = picture.findall("{http://www.w3.org/2000/svg}circle")
    assert len(marks) == 3
    across = [float(mark.get("cx")) for mark in marks]
    down = [float(mark.get("cy")) for mark in marks]
    assert across == sorted(across)
    assert down[2] < down[0] < down[1]
    assert curve_svg(line) == curve_svg(line)


def test_the_curve_is_written(results, tmp_path, capsys):
    path = tmp_path / "curve.svg"
    arguments = ["compare", "mean", "down16", "down8", "--curve", "--output", str(path)]
    assert invoke([*arguments, "--results", str(results)]) == 0
    assert "change" in capsys.readouterr().out
    ET.fromstring(path.read_text())
