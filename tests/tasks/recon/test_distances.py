"""Fréchet distances in their three forms, and passes of the extractor over the originals."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.metrics.extractors.random_conv import RandomConvExtractor
from medbench.harness.metrics.frechet import frechet_distance
from medbench.harness.metrics.references import ReconstructionReference, Reconstructions
from medbench.harness.record import Definition
from medbench.harness.statistics.intervals import Interval
from medbench.harness.task import Plan
from medbench.leaderboard.pairs import Difference, _from_intervals
from medbench.tasks.recon import distances
from medbench.tasks.recon.aggregate import Aggregator
from medbench.tasks.recon.definitions import key
from medbench.tasks.recon.features import Space
from medbench.tasks.recon.options import identity, understand

SPACE = Space("net", {}, "rfd_random", "kid_random")


def aggregator(groups, fingerprint="abc", *, patients=None, ids=None, dataset_id="set"):
    names = [name for name, count in groups.items() for _ in range(count)]
    store = SimpleNamespace(
        rows=[
            SimpleNamespace(group=name, patient=patients and patients[row], id=ids and ids[row])
            for row, name in enumerate(names)
        ],
        fingerprint=fingerprint,
    )
    plan = Plan(dataset_id, "test", "rule", 256, None, groups, True)
    keys = [key("kid_random", s) for s in ("", "image-weighted")]
    keys += [key("rfd_random", s) for s in ("", "image-weighted", "n=500", "n=inf")]
    keys += ["psnr"]
    made = {k: Definition(id=k, facts={}) for k in keys}
    return Aggregator(plan, store, made)


def measured(groups, original, back, fingerprint="abc", **of_images):
    aggregate = aggregator(groups, fingerprint, **of_images)
    reference = ReconstructionReference(original, space="net", fingerprint=fingerprint)
    candidate = Reconstructions(back, "net", fingerprint)
    distances.add_distances(aggregate, distances.Sets(SPACE, reference, candidate))
    return {(m.name, m.group, m.setting): m for m in aggregate.metrics}


def at_common_n(original, back, fingerprint):
    """The distance at n=500 alone."""
    aggregate = aggregator({"ct": len(original)}, fingerprint)
    reference = ReconstructionReference(original, space="net", fingerprint=fingerprint)
    sets = distances.Sets(SPACE, reference, Reconstructions(back, "net", fingerprint))
    whole = distances._Distances(aggregate, sets).frechet("all")
    return distances._fixed(aggregate, sets, "all", whole)


def gaussians(count, seed, *, dims=4, noise=0.7):
    """Originals, and reconstructions whose true distance has a closed form."""
    rng = np.random.default_rng(seed)
    original = rng.normal(size=(count, dims))
    back = 0.8 * original + noise * rng.normal(size=(count, dims)) + 0.3
    spread = np.sqrt(0.8**2 + noise**2)
    return original, back, dims * (0.3**2 + (spread - 1) ** 2)


def test_at_a_common_n_draws_of_500_are_averaged_and_their_spread_is_told():
    original, back, _ = gaussians(900, 0)
    every = measured({"ct": 900}, original, back)
    found, whole = every["rfd_random", "all", "n=500"], every["rfd_random", "all", ""]
    assert found.n == 500
    assert found.value == pytest.approx(whole.value, rel=0.2)
    drawn = re.fullmatch(r"10 draws, standard deviation ([0-9.]+)", found.flags[0])
    margin = np.hypot(whole.high - whole.value, 1.96 * float(drawn[1]) / np.sqrt(10))
    assert found.high - found.value == pytest.approx(margin, rel=0.01)
    assert found.value - found.low == pytest.approx(margin, rel=0.01)


def test_equal_systems_at_a_common_n_are_called_different_no_more_often_than_by_chance():
    """Draws of 500 from 520 images are nearly the same: their spread called 72 % different."""
    runs, different = 30, 0
    rng = np.random.default_rng(1)
    for run in range(runs):
        original = rng.normal(size=(520, 4))
        backs = [original + 0.5 * rng.normal(size=original.shape) for _ in range(2)]
        one, two = (at_common_n(original, back, str(run)) for back in backs)
        found = _from_intervals(Difference("rfid", "all", value=one.value - two.value), one, two)
        different += found.p < 0.05
    assert different / runs <= 0.1


def test_the_common_n_has_a_mean_over_modalities_that_all_have_500_images():
    original, back, _ = gaussians(1100, 0)
    back[:500] += 1.0
    found = measured({"ct": 500, "mri": 600}, original, back)
    ct, mri, macro = (found["rfd_random", g, "n=500"] for g in ("ct", "mri", "macro"))
    assert macro.value == pytest.approx((ct.value + mri.value) / 2)
    assert macro.high - macro.value == pytest.approx(
        np.hypot(ct.high - ct.value, mri.high - mri.value) / 2
    )
    fewer = measured({"ct": 499, "mri": 601}, original, back)
    assert ("rfd_random", "macro", "n=500") not in fewer


def test_exactly_500_images_are_their_own_only_draw():
    original, back, _ = gaussians(500, 0)
    found = measured({"ct": 500}, original, back)
    fixed = found["rfd_random", "all", "n=500"]
    whole = found["rfd_random", "all", ""]
    assert (fixed.value, fixed.low, fixed.high) == (whole.value, whole.low, whole.high)
    assert fixed.flags == []


def test_a_single_modality_and_all_images_have_the_same_interval():
    original, back, _ = gaussians(200, 0)
    found = measured({"ct": 200}, original, back)
    for name, setting in (("rfd_random", ""), ("rfd_random", "n=inf"), ("kid_random", "")):
        whole, part = found[name, "all", setting], found[name, "ct", setting]
        assert (whole.value, whole.low, whole.high) == (part.value, part.low, part.high)


def test_too_few_images_are_refused_with_the_explanation():
    original, back, _ = gaussians(160, 0)
    found = measured({"ct": 60, "mri": 100}, original, back)
    assert "60 images, at least 100" in found["rfd_random", "ct", ""].reason
    assert "500 are needed" in found["rfd_random", "all", "n=500"].reason
    assert "needs 200" in found["rfd_random", "all", "n=inf"].reason
    assert found["rfd_random", "all", ""].value is not None
    assert "ct" in found["rfd_random", "macro", ""].reason


def test_patients_are_drawn_as_a_whole_and_three_of_them_have_no_interval():
    original, back, _ = gaussians(60, 0)
    original, back = np.repeat(original, 8, axis=0), np.repeat(back, 8, axis=0)
    ignored = measured({"ct": 480}, original, back)
    known = measured({"ct": 480}, original, back, patients=[f"p{row // 8}" for row in range(480)])
    for name in ("rfd_random", "kid_random"):
        one, other = known[name, "all", ""], ignored[name, "all", ""]
        assert one.value == other.value
        assert one.high - one.low > 2 * (other.high - other.low)
    few = measured({"ct": 480}, original, back, patients=[f"p{row % 3}" for row in range(480)])
    for name in ("rfd_random", "kid_random"):
        assert few[name, "all", ""].value == ignored[name, "all", ""].value
        assert few[name, "all", ""].low is None
        assert "no interval: 3 patients or volumes" in few[name, "all", ""].flags
    assert "images of 3 patients" in few["rfd_random", "all", "n=inf"].reason


def test_means_over_modalities_are_unweighted_and_weighted_by_images():
    original, back, _ = gaussians(400, 0)
    back[:100] += 1.0
    found = measured({"ct": 100, "mri": 300}, original, back)
    for name in ("rfd_random", "kid_random"):
        ct, mri = found[name, "ct", ""].value, found[name, "mri", ""].value
        assert found[name, "macro", ""].value == pytest.approx((ct + mri) / 2)
        weighted = found[name, "macro", "image-weighted"]
        assert weighted.value == pytest.approx((ct + 3 * mri) / 4)
        assert weighted.low < weighted.value < weighted.high
        assert weighted.n == 400


def test_a_union_has_values_of_each_of_its_sets():
    original, back, _ = gaussians(360, 0)
    ids = [f"{name}/{row}" for row, name in enumerate(["a"] * 200 + ["a/b"] * 120 + ["c"] * 40)]
    facts = {"ids": ids, "dataset_id": "union:a,a/b,c"}
    found = measured({"ct": 360}, original, back, **facts)
    first = measured({"ct": 200}, original[:200], back[:200])
    assert found["rfd_random", "set:a", ""].value == first["rfd_random", "all", ""].value
    assert found["kid_random", "set:a/b", ""].n == 120
    assert not any(group == "set:c" for _, group, _ in found)  # 40 images: no distance
    aggregate = aggregator({"ct": 360}, **facts)
    aggregate.per_image({"psnr": np.repeat([30.0, 20.0, 10.0], [200, 120, 40])})
    means = {m.group: m.value for m in aggregate.metrics if m.group.startswith("set:")}
    assert means == {"set:a": 30.0, "set:a/b": 20.0, "set:c": 10.0}


def test_a_line_that_ends_below_zero_is_no_value():
    """The whole interval lies where no distance is: nothing of it may be printed as 0."""
    interval = Interval(1.0, 0.9, 1.1, 300, 300, np.array([1.0]))
    below = distances._limit("rfid", distances._Measured(interval, 2.3, ()), 512)
    assert "ends between -0.4 and -0.2, below any distance" in below
    near = distances._limit("rfid", distances._Measured(interval, 2.05, ()), 512)
    assert near.value == 0.0
    assert near.low < 0.0 < near.high
    assert "not resolved from 0" in near.flags


def test_fewer_images_than_dimensions_are_flagged():
    original, back, _ = gaussians(120, 0, dims=150)
    found = measured({"ct": 120}, original, back)
    assert found["rfd_random", "all", ""].flags == ["rank-deficient"]
    assert found["kid_random", "all", ""].flags == []


def test_the_extrapolated_value_is_unbiased_where_the_plain_one_is_not():
    values, truth = [], 0.0
    for seed in range(12):
        original, back, truth = gaussians(200, seed, dims=12)
        found = measured({"ct": 200}, original, back, str(seed))
        values.append([found["rfd_random", "all", s].value for s in ("", "n=inf")])
    bias, left = np.mean(values, axis=0) - truth
    assert bias > 0.02
    assert abs(left) < bias / 3


@pytest.mark.slow
def test_the_interval_of_the_extrapolated_value_covers_the_truth():
    inside = 0
    for seed in range(200):
        original, back, truth = gaussians(300, seed)
        found = measured({"ct": 300}, original, back, str(seed))["rfd_random", "all", "n=inf"]
        inside += found.low <= truth <= found.high
    assert 0.90 <= inside / 200 <= 0.99


def test_the_interval_at_a_common_n_covers_the_expectation_of_a_set_of_500():
    expected = np.mean([frechet_distance(*gaussians(500, seed)[:2]) for seed in range(400)])
    inside = 0
    for seed in range(40):
        original, back, _ = gaussians(700, 1000 + seed)
        found = at_common_n(original, back, str(seed))
        inside += found.low <= expected <= found.high
    assert inside >= 36


def test_originals_pass_through_the_extractor_once_for_all_tokenizers(
    measure, monkeypatch, tmp_path
):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    seen = []
    real = RandomConvExtractor.__call__

    def counting(self, images):
        seen.append(len(images))
        return real(self, images)

    monkeypatch.setattr(RandomConvExtractor, "__call__", counting)
    tokenizers = ["down16", "down8", "mean"]
    for name in tokenizers:
        measure(name, limit=3)
    assert sum(seen) == (len(tokenizers) + 1) * 6


def test_an_option_that_reconstruction_does_not_know_is_refused():
    with pytest.raises(UsageError, match="give one of dinov2"):
        understand({"extractor": "resnet"})


def test_the_identity_has_options_by_content_and_in_one_order():
    assert identity({}) == {}
    assert identity({"extractor": "tf,clean,tf", "retention": "yes"}) == {
        "extractor": "clean,tf",
        "retention": "yes",
    }


def test_a_variant_of_rfid_without_the_weights_is_a_missing_prerequisite(measure):
    with pytest.raises(MissingPrerequisite, match="FID Inception weights"):
        measure("down16", limit=2, options={"extractor": "tf"})


def test_a_further_space_is_measured_under_its_own_name(measure, tmp_path):
    import timm
    from safetensors.torch import save_file

    path = tmp_path / "net.safetensors"
    network = timm.create_model("resnet10t", num_classes=0)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    record = measure("down16", limit=3, options={"extractor": f"timm:resnet10t={path}"})
    (found,) = [
        m
        for m in record.metrics
        if m.name == "rfd" and not m.setting.endswith(("inf", "500")) and m.group == "all"
    ]
    assert found.setting.startswith("timm:resnet10t@")
    assert "at least 100" in found.reason
    assert record.definitions[found.definition].facts["extractor"]["weights_sha256"]
    assert record.identity.options["extractor"].startswith("timm:resnet10t@")
