"""Promises of `generate`: purity, splits, labels, masks, sizes and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest

from medbench.harness.datasets.medsynth import (
    CLASSES,
    GENERATOR_VERSION,
    HEALTHY,
    MODALITIES,
    SPLITS,
    Sample,
    describe,
    generate,
)
from medbench.harness.errors import UsageError
from medbench.harness.vocabulary import MODALITIES as VOCABULARY


def fingerprint(sample: Sample) -> str:
    parts = [sample.image.tobytes(), sample.mask.tobytes()]
    if sample.hounsfield is not None:
        parts.append(sample.hounsfield.tobytes())
    state = json.dumps(sample.state, sort_keys=True).encode()
    return f"{zlib.crc32(b''.join(parts) + state):08x}"


def test_modalities_are_those_of_the_vocabulary():
    assert set(MODALITIES) == set(VOCABULARY)
    assert GENERATOR_VERSION >= 1


@pytest.mark.parametrize("modality", MODALITIES)
def test_two_calls_agree_to_the_bit_whatever_lies_between(modality):
    first = fingerprint(generate(modality, 3, seed=5))
    generate(modality, 4)
    generate(MODALITIES[0], 9, size=64)
    assert fingerprint(generate(modality, 3, seed=5)) == first


def test_a_fresh_process_in_another_order_agrees_to_the_bit():
    program = (
        "import sys, json, zlib\n"
        "from medbench.harness.datasets.medsynth import generate\n"
        "for name in reversed(sys.argv[1:]):\n"
        "    s = generate(name, 1, split='train')\n"
        "    print(name, zlib.crc32(s.image.tobytes() + s.mask.tobytes()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *MODALITIES],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "3", "PYTHONHASHSEED": "11"},
    )
    theirs = dict(line.split() for line in done.stdout.splitlines())
    for name in MODALITIES:
        sample = generate(name, 1, split="train")
        assert theirs[name] == str(zlib.crc32(sample.image.tobytes() + sample.mask.tobytes()))


def test_the_global_generator_plays_no_part():
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the promise is about this very one
    first = fingerprint(generate("fundus", 0))
    np.random.seed(7)  # noqa: NPY002
    assert fingerprint(generate("fundus", 0)) == first
    np.random.seed(7)  # noqa: NPY002
    seeded = np.random.get_state()[1].copy()  # noqa: NPY002
    generate("fundus", 0)
    assert np.array_equal(np.random.get_state()[1], seeded)  # noqa: NPY002
    assert state.shape == seeded.shape


@pytest.mark.parametrize("modality", MODALITIES)
def test_splits_seeds_and_indices_share_no_image(modality):
    keys = [*((split, 0, 0) for split in SPLITS), ("test", 0, 1), ("test", 1, 0)]
    prints = {
        zlib.crc32(generate(modality, index, seed=seed, split=split, size=64).image.tobytes())
        for split, seed, index in keys
    }
    assert len(prints) == len(keys)


@pytest.mark.parametrize("modality", MODALITIES)
def test_shapes_and_types(modality):
    for size in (64, 256):
        sample = generate(modality, 0, size=size)
        assert sample.image.shape == (size, size, 3)
        assert sample.image.dtype == np.uint8
        assert sample.mask.shape == (size, size)
        assert sample.mask.dtype == bool
        assert sample.modality == modality


@pytest.mark.parametrize("modality", MODALITIES)
def test_first_sixty_reach_every_class_and_no_other(modality):
    labels = {describe(modality, index).label for index in range(60)}
    assert labels == set(CLASSES[modality])
    assert CLASSES[modality][0] == HEALTHY


@pytest.mark.parametrize("modality", MODALITIES)
def test_mask_is_non_empty_exactly_where_a_finding_is_present(modality, rendered):
    for sample in rendered(modality):
        assert sample.mask.any() == sample.state["present"] == (sample.label != HEALTHY)
        assert sample.mask.mean() < 0.7


@pytest.mark.parametrize("modality", MODALITIES)
def test_small_images_keep_their_lesion(modality):
    for index in range(2):
        sample = generate(modality, index, size=32)
        assert sample.mask.any() == sample.state["present"]


@pytest.mark.parametrize("modality", MODALITIES)
def test_state_is_plain_json_and_tells_the_finding(modality, rendered):
    for sample in rendered(modality):
        assert json.loads(json.dumps(sample.state)) == dict(sample.state)
        assert sample.state["label"] == sample.label
        if sample.state["present"]:
            assert 0 <= sample.state["severity"] <= 1
            assert sample.state["grade"] in ("mild", "moderate", "severe")
            assert sample.state["side"] in ("left", "right")
            assert sample.state["radius"] > 0
        else:
            assert (sample.state["grade"], sample.state["side"]) == ("none", "none")


@pytest.mark.parametrize("modality", MODALITIES)
def test_what_is_described_without_rendering_is_what_the_sample_tells(modality, rendered):
    for index, sample in enumerate(rendered(modality)[:5]):
        told = describe(modality, index, split="val")
        assert dict(told.state) == dict(sample.state)
        assert (told.label, told.modality) == (sample.label, sample.modality)
        assert (told.patient, told.caption) == (sample.patient, sample.caption)
        assert told.questions == sample.questions


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("size", [64, 512])
def test_another_size_shows_the_same_scene(modality, size):
    base, other = generate(modality, 0), generate(modality, 0, size=size)
    assert dict(base.state) == dict(other.state)
    small, large = sorted((base, other), key=lambda sample: sample.image.shape[0])
    side = small.image.shape[0]
    factor = large.image.shape[0] // side
    blocks = large.image.astype(float).reshape(side, factor, side, factor, 3).mean(axis=(1, 3))
    correlation = np.corrcoef(blocks.ravel(), small.image.ravel())[0, 1]
    assert correlation > 0.97
    # The magnitude of noise lifts MRI's dark pixels, by an amount that changes with the size.
    assert abs(blocks.mean() - small.image.mean()) < 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modality": "fundos"}, "Did you mean 'fundus'"),
        ({"modality": "pet"}, "Unknown medsynth modality 'pet'"),
        ({"split": "tests"}, "Did you mean 'test'"),
        ({"index": -1}, "index is -1"),
        ({"index": 1.5}, "index is 1.5"),
        ({"index": True}, "index is True"),
        ({"seed": -3}, "seed is -3"),
        ({"size": 16}, "size is 16"),
        ({"size": 2048}, "32 to 1024"),
    ],
)
def test_bad_arguments_are_refused_with_the_reason(arguments, message):
    call = {"modality": "ct", "index": 0, **arguments}
    with pytest.raises(UsageError, match=message):
        generate(**call)
