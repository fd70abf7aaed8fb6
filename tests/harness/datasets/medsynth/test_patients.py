"""Patients: how many images they have, what these share, and that nobody is in two splits."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise

import numpy as np
import pytest

from medbench.harness.datasets.medsynth import MODALITIES, SPLITS, Description, describe
from medbench.harness.datasets.medsynth.generate import GENERATORS
from medbench.harness.datasets.medsynth.latent import Key
from medbench.harness.datasets.medsynth.patients import BLOCK, PERSISTENCE, find_patient


def pairs(told: list[Description]) -> tuple[list, list]:
    """Neighbours of one patient, and images as many patients apart."""
    same = [(a, b) for a, b in pairwise(told) if a.patient == b.patient]
    other = [(a, b) for a, b in zip(told, told[BLOCK:], strict=False)]
    return same, other


def test_patients_are_runs_of_one_to_four_images_and_each_block_is_complete():
    patients = [find_patient(Key("ct", index, 0, "test")) for index in range(40 * BLOCK)]
    runs = [(patient, len(list(run))) for patient, run in groupby(patients)]
    assert [patient.number for patient, _ in runs] == list(range(len(runs)))
    assert all(patient.images == length for patient, length in runs)
    assert Counter(length for _, length in runs) == dict.fromkeys((1, 2, 3, 4), 40)
    starts = [index for index in range(len(patients)) if patients[index].first == index]
    assert {start for start in starts if start % BLOCK == 0} == set(range(0, 40 * BLOCK, BLOCK))
    orders = {tuple(length for _, length in runs[place : place + 4]) for place in range(0, 160, 4)}
    assert len(orders) > 10


def test_splits_and_modalities_share_no_patient():
    ids = Counter()
    for split in SPLITS:
        for modality in MODALITIES:
            ids.update({describe(modality, index, split=split).patient for index in range(30)})
    assert set(ids.values()) == {1}


def test_patients_of_two_splits_and_seeds_differ_in_what_they_are():
    states = [describe("ct", 0, seed=seed, split=split) for seed in (0, 1) for split in SPLITS]
    assert len({told.state["body_a"] for told in states}) == len(states)


@pytest.mark.parametrize("modality", MODALITIES)
def test_declared_fields_are_shared_within_and_differ_between_patients(modality, described):
    generator = GENERATORS[modality]
    same, other = pairs(described(modality, "val"))
    first = described(modality, "val")[0].state
    names = [
        key for key in first
        if any(key == name or key.startswith(f"{name}_") for name in generator.patient)
    ]  # fmt: skip
    assert len(names) >= len(generator.patient)
    for name in names:
        assert all(a.state[name] == b.state[name] for a, b in same), name
        assert any(a.state[name] != b.state[name] for a, b in other), name


@pytest.mark.parametrize("modality", MODALITIES)
def test_other_fields_are_drawn_for_each_image(modality, described):
    generator = GENERATORS[modality]
    taken = {*generator.patient, *generator.lesion, "camera"}
    finding = ("label", "present", "severity", "grade", "side", "x", "y", "radius")
    same, _ = pairs(described(modality, "val"))
    free = [
        name for name, value in same[0][0].state.items()
        if isinstance(value, float) and name not in (*taken, *finding)
        and not name.startswith("camera_")
    ]  # fmt: skip
    assert free or modality == "pathology"
    for name in free:
        assert any(a.state[name] != b.state[name] for a, b in same), name


def test_a_finding_persists_as_often_as_documented(described):
    same = [pair for m in MODALITIES for pair in pairs(described(m, "val"))[0]]
    kept = np.mean([a.state["x"] == b.state["x"] for a, b in same])
    # Both images take their patient's finding; 5 standard errors.
    expected = PERSISTENCE**2
    assert kept == pytest.approx(expected, abs=5 * np.sqrt(0.25 / len(same)))


def test_a_lesion_that_is_seen_again_keeps_the_fields_that_describe_it(described):
    seen = 0
    for modality in MODALITIES:
        told = described(modality, "val")
        for a, b in pairs(told)[0]:
            if a.state["x"] == b.state["x"]:
                for name in ("label", "severity", "radius", *GENERATORS[modality].lesion):
                    assert a.state[name] == b.state[name]
                    seen += 1
    assert seen > 500


def test_labels_agree_more_within_patients_yet_stay_uniform_over_all(described):
    for modality in MODALITIES:
        told = described(modality, "val")
        same, other = pairs(told)
        within = np.mean([a.label == b.label for a, b in same])
        between = np.mean([a.label == b.label for a, b in other])
        assert within > between + 0.15, modality
        classes = len(GENERATORS[modality].classes)
        shares = np.array(list(Counter(each.label for each in told).values())) / len(told)
        # Some 80 patients: one share's standard error is below 0.06.
        assert np.abs(shares - 1 / classes).max() < 0.18, modality


def test_pictures_of_one_patient_are_more_alike_in_colour_and_contrast(rendered):
    ratios = []
    for modality in MODALITIES:
        samples = rendered(modality)
        statistics = np.array(
            [[*sample.image.mean(axis=(0, 1)), sample.image.std()] for sample in samples]
        )
        patients = np.array([sample.patient for sample in samples])
        distance = np.linalg.norm(statistics[:, None] - statistics[None], axis=2)
        same = patients[:, None] == patients[None]
        within = distance[same & ~np.eye(len(samples), dtype=bool)].mean()
        ratios.append(within / distance[~same].mean())
        assert ratios[-1] < 1, modality
    assert np.mean(ratios) < 0.7
