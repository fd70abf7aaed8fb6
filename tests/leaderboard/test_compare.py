from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from medbench.__main__ import invoke
from medbench.harness.record_files import Stored
from medbench.harness.statistics.power import needed
from medbench.leaderboard.comparison.curve import curve, curve_facts, curve_svg, curve_table
from medbench.leaderboard.comparison.matrix import matrices
from medbench.leaderboard.comparison.pairing import Plan
from medbench.leaderboard.comparison.places import places
from medbench.leaderboard.comparison.report import text_report, words


def chosen(make, tmp_path, values, spread=0.5):
    """Systems with the given PSNR, whose replicates differ by independent noise."""
    table = {}
    for seed, (name, value) in enumerate(values.items()):
        record = make(name, psnr=value)
        noise = np.random.default_rng(seed).normal(0, spread, 1000)
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
    assert "the one seen needs about 8,180 images." in texts[0]
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


def test_a_planned_difference_takes_images_at_the_level_after_correction(make, tmp_path):
    systems = chosen(make, tmp_path, {"a": 30.0, "b": 29.9, "c": 20.0})
    (matrix,) = matrices(places(systems)[0], ["psnr"], plan=Plan(power=0.9, difference=0.05))
    for pair in matrix.pairs:
        assert pair.level == pytest.approx(0.05 / 3)
        found = pair.difference
        wanted = needed(
            0.05, standard_error=found.standard_error, count=found.n, level=0.05 / 3, power=0.9
        )
        assert pair.planned == wanted
        told = words(matrix.topic, pair, matrix.plan)
        assert f"To tell 0.05 dB, about {wanted:,} images are needed" in told
    told = text_report([matrix])
    assert "for 90 % power; the level is 1.7 %, 5 % shared by 3 tests" in told


def of_seeds(make, tmp_path, values):
    """Systems with a value for each seed."""
    table = {}
    for name, seeds in values.items():
        record = make(name)
        metrics = [
            replace(m, value=float(np.mean(seeds)), replicates=seeds)
            if (m.name, m.group) == ("psnr", "macro")
            else m
            for m in record.metrics
        ]
        stored = Stored(tmp_path / f"{name}.json", record.model_copy(update={"metrics": metrics}))
        table[record.full_name] = [stored]
    return table


def test_where_seeds_are_compared_seeds_are_what_is_needed(make, tmp_path):
    seeds = {"a": [50.1, 50.9, 50.3, 50.2, 50.5], "b": [50.3, 49.8, 50.2, 49.7, 50.6]}
    (matrix,) = matrices(
        places(of_seeds(make, tmp_path, seeds))[0], ["psnr"], plan=Plan(difference=0.5)
    )
    (pair,) = matrix.pairs
    told = words(matrix.topic, pair, matrix.plan)
    count = needed(0.28, standard_error=pair.difference.standard_error, count=5, degrees=4.0)
    assert pair.needed == count < 60
    assert "on 5 seeds of 16 images each" in told
    assert f"the one seen needs about {count} seeds." in told
    assert f"To tell 0.50 dB, about {pair.planned} seeds are needed." in told


def test_patients_that_are_too_few_for_any_difference_are_not_said_to_be_enough(results, capsys):
    """Three patients: eight sign patterns, and p never is below 1/4."""
    arguments = ["compare", "down8", "down16", "--metric", "psnr", "--group", "ct"]
    assert invoke([*arguments, "--difference", "5", "--results", str(results)]) == 0
    told = capsys.readouterr().out
    assert "on 4 images of 3 patients. 3 patients are too few for any difference at 5 %" in told
    assert "To tell 5.00 dB, about 8 images of 6 patients are needed." in told


def test_a_control_is_not_compared(results, capsys):
    arguments = ["compare", "down8", "down16", "--metric", "overall[blind]"]
    assert invoke([*arguments, "--results", str(results)]) == 2
    assert "no metric that has a better direction" in capsys.readouterr().err


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
        (["down8", "mean", "--difference", "1"], "name it, such as --metric psnr"),
        (["down8", "mean", "--metric", "psnr", "--difference", "-1"], "above 0, got -1"),
        (["down8", "mean", "--power", "1"], "from 0.5 to below 1"),
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


def test_a_curve_says_of_each_change_whether_it_is_one(make, tmp_path):
    systems = chosen(make, tmp_path, {"m": 20.0, "n": 25.0, "o": 24.9, "p": 22.0})
    labels = dict(zip(systems, ("net@1k", "net@2k", "net@3k", "net@4k"), strict=True))
    (place,) = places({labels[name]: stored for name, stored in systems.items()})
    line = curve(place, "psnr")
    pairs = {(p.first, p.second): p for p in matrices(place, ["psnr"])[0].pairs}
    up, same, down = line.changes
    raw = pairs["net@2k", "net@1k"].difference
    assert (up.difference.value, up.difference.low) == (raw.value, raw.low)
    assert [up.tests, line.whole.tests] == [3, 1]
    assert same.adjusted_p == pytest.approx(same.difference.p)
    told = curve_table(line)
    assert "- net@2k is better than net@1k by 5.00 dB" in told
    assert "- net@3k and net@2k are not distinguishable: 0.10 dB apart" in told
    assert "- net@4k is worse than net@3k by 2.90 dB" in told
    assert "First to last (a test of its own, at 5 %): net@4k is better than net@1k" in told
    found = json.loads(json.dumps(curve_facts(line)))
    assert [change["winner"] for change in found["changes"]] == ["net@2k", None, "net@3k"]
    assert down.difference.value == pytest.approx(-2.9)


def test_p_values_of_a_curve_are_corrected_over_its_changes(make, tmp_path):
    systems = chosen(make, tmp_path, {"m": 20.0, "n": 21.6, "o": 21.7, "p": 21.8})
    (place,) = places(systems)
    first, *_ = curve(place, "psnr").changes
    assert first.adjusted_p == pytest.approx(3 * first.difference.p)


def test_a_change_without_a_spread_is_not_judged(make, tmp_path):
    systems = of_seeds(make, tmp_path, {"m": [20.0], "n": [21.0]})
    (place,) = places(systems)
    told = curve_table(curve(place, "psnr"))
    assert "n@v and m@v cannot be compared: no usable intervals" in told


def test_the_curve_is_written(results, tmp_path, capsys):
    path = tmp_path / "curve.svg"
    arguments = ["compare", "mean", "down16", "down8", "--curve", "--output", str(path)]
    assert invoke([*arguments, "--results", str(results)]) == 0
    assert "change" in capsys.readouterr().out
    ET.fromstring(path.read_text())
