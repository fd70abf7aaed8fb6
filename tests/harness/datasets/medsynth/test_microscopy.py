"""Blood smears: what each class shows, and that masks lie on the abnormal cells."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from medbench.harness.datasets.medsynth import CLASSES, generate, microscopy
from medbench.harness.datasets.medsynth.canvas import make_canvas
from medbench.harness.datasets.medsynth.microscopy_cells import (
    RedCell,
    WhiteCell,
    open_film,
    paint_red_cell,
    paint_white_cell,
)

PLAIN = RedCell(0.5, 0.5, 0.1, 0.0, 0.0, 0.5, 1.0, "round", (0.5, 0.5, 0.5, 0.5))


@cache
def states(label: str) -> list[microscopy.MicroscopyState]:
    rng = np.random.default_rng(1)
    drawn = [microscopy.draw_state(rng) for _ in range(120)]
    return [state for state in drawn if state.finding.label == label][:12]


def film_of(cell: RedCell | WhiteCell):
    film = open_film(make_canvas(256, np.random.default_rng(0)))
    if isinstance(cell, RedCell):
        paint_red_cell(film, cell)
    else:
        paint_white_cell(film, cell)
    return film


def test_normal_comes_first_and_three_findings_follow():
    assert CLASSES["microscopy"][0] == "normal"
    assert len(CLASSES["microscopy"]) == 4


@pytest.mark.parametrize("label", microscopy.CLASSES)
def test_the_mask_is_empty_exactly_in_normal_smears(label):
    for state in states(label):
        rendering = microscopy.render(state, make_canvas(256, np.random.default_rng(2)))
        assert rendering.lesion.any() == (label != "normal")


@pytest.mark.parametrize("label", ["blast", "malaria", "sickle_cells"])
def test_the_finding_lies_in_the_half_that_the_state_names(label):
    for state in states(label):
        lesion = microscopy.render(state, make_canvas(256, np.random.default_rng(2))).lesion
        weight = lesion.sum(axis=0)
        centre = (weight * (np.arange(256) + 0.5)).sum() / weight.sum()
        assert (centre > 128) == (state.finding.side == "right")


def test_severity_adds_abnormal_cells():
    area = {}
    for severity in (0.05, 0.95):
        covers = []
        for state in states("malaria"):
            finding = replace(state.finding, severity=severity)
            changed = replace(state, finding=finding, crowding=0.3)
            lesion = microscopy.render(changed, make_canvas(256, np.random.default_rng(3))).lesion
            covers.append(lesion.sum() / state.red_radius**2)
        area[severity] = np.median(covers)
    assert area[0.95] > 1.8 * area[0.05]


def test_a_blast_is_the_white_cell():
    for state in states("blast"):
        assert state.leukocyte == "blast"
        assert (state.white_x, state.white_y) == (state.finding.x, state.finding.y)
    for state in states("normal"):
        assert state.leukocyte in microscopy.LEUKOCYTES


def test_a_round_red_cell_has_the_area_of_its_radius_and_a_pale_middle():
    film = film_of(PLAIN)
    area = (film.haemoglobin > 0.1).sum() / 256**2
    assert area == pytest.approx(np.pi * PLAIN.radius**2, rel=0.08)
    rim = film.haemoglobin[128, 128 + round(0.85 * PLAIN.radius * 256)]
    assert film.haemoglobin[128, 128] < 0.8 * rim
    assert not film.lesion.any()


def test_a_sickle_cell_is_elongated():
    cover = film_of(replace(PLAIN, kind="sickle")).lesion > 0.5
    rows, columns = np.nonzero(cover)
    values = np.linalg.eigvalsh(np.cov(np.stack([rows, columns])))
    assert np.sqrt(values[1] / values[0]) > 2.5


def test_an_infected_cell_holds_chromatin_within_its_outline():
    film = film_of(replace(PLAIN, kind="infected"))
    assert film.chromatin.max() > 0.5
    assert not (film.chromatin[film.lesion < 0.01] > 0.05).any()


def test_a_blast_has_less_cytoplasm_and_paler_chromatin_than_a_lymphocyte():
    share, level = {}, {}
    for kind in ("lymphocyte", "blast"):
        film = film_of(WhiteCell(0.5, 0.5, 0.15, kind, 0.8))
        nucleus = film.chromatin > 0.4
        share[kind] = nucleus.sum() / ((film.basophil > 0.2) | nucleus).sum()
        level[kind] = np.median(film.chromatin[nucleus])
    assert share["blast"] > share["lymphocyte"]
    assert level["blast"] < 0.85 * level["lymphocyte"]


def test_a_neutrophil_has_a_lobed_nucleus_and_a_lymphocyte_a_round_one():
    def solidity(kind: str) -> float:
        film = film_of(WhiteCell(0.5, 0.5, 0.15, kind, 0.0))
        rows, columns = np.nonzero(film.chromatin > 0.4)
        spread = np.sqrt(np.linalg.eigvalsh(np.cov(np.stack([rows, columns]))).prod())
        return rows.size / (4 * np.pi * spread)

    assert solidity("lymphocyte") > 0.95 > solidity("neutrophil")


def test_a_cell_outside_the_image_leaves_no_trace():
    film = film_of(replace(PLAIN, x=1.5))
    assert not film.haemoglobin.any()


def test_smears_are_bright_and_nuclei_are_purple():
    for index in range(6):
        image = generate("microscopy", index, split="val").image.astype(float)
        assert np.median(image.mean(axis=2)) > 110
        dark = image[image.mean(axis=2) <= np.quantile(image.mean(axis=2), 0.01)].mean(axis=0)
        assert dark[2] > dark[0] > dark[1]
