"""Fréchet distances in their three forms, and passes of the extractor over the originals."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from medbench.harness.errors import MissingPrerequisite, UsageError
from medbench.harness.metrics.extractors.random_conv import RandomConvExtractor
from medbench.harness.metrics.references import ReconstructionReference, Reconstructions
from medbench.harness.record import Definition
from medbench.harness.task import Plan
from medbench.tasks.recon import distances
from medbench.tasks.recon.aggregate import Aggregator
from medbench.tasks.recon.definitions import key
from medbench.tasks.recon.features import Space
from medbench.tasks.recon.options import identity, understand

SPACE = Space("net", {}, "rfd_random", "kid_random")


def aggregator(groups, fingerprint="abc"):
    names = [name for name, count in groups.items() for _ in range(count)]
    store = SimpleNamespace(
        rows=[SimpleNamespace(group=name, patient=None) for name in names], fingerprint=fingerprint
    )
    plan = Plan("set", "test", "rule", 256, None, groups, True)
    keys = [key("kid_random"), *(key("rfd_random", s) for s in ("", "n=500", "n=inf"))]
    made = {k: Definition(id=k, facts={}) for k in keys}
    return Aggregator(plan, store, made)


def measured(groups, original, back, fingerprint="abc"):
    aggregate = aggregator(groups, fingerprint)
    reference = ReconstructionReference(original, space="net", fingerprint=fingerprint)
    candidate = Reconstructions(back, "net", fingerprint)
    distances.add_distances(aggregate, distances.Sets(SPACE, reference, candidate))
    return {(m.name, m.group, m.setting): m for m in aggregate.metrics}


def gaussians(count, seed, *, dims=4, noise=0.7):
    """Originals, and reconstructions whose true distance has a closed form."""
    rng = np.random.default_rng(seed)
    original = rng.normal(size=(count, dims))
    back = 0.8 * original + noise * rng.normal(size=(count, dims)) + 0.3
    spread = np.sqrt(0.8**2 + noise**2)
    return original, back, dims * (0.3**2 + (spread - 1) ** 2)


def test_at_a_common_n_draws_of_500_are_averaged_and_their_spread_is_kept():
    original, back, _ = gaussians(900, 0)
    found = measured({"ct": 900}, original, back)["rfd_random", "all", "n=500"]
    assert found.n == 500
    assert found.low < found.value < found.high
    whole = measured({"ct": 900}, original, back)["rfd_random", "all", ""]
    assert found.value == pytest.approx(whole.value, rel=0.2)


def test_exactly_500_images_are_their_own_only_draw():
    original, back, _ = gaussians(500, 0)
    found = measured({"ct": 500}, original, back)
    fixed = found["rfd_random", "all", "n=500"]
    assert fixed.value == found["rfd_random", "all", ""].value
    assert fixed.low is None


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


def test_single_draws_of_500_fall_into_the_spread():
    # From so many images two draws hardly overlap, and are as good as independent.
    original, back, _ = gaussians(20_000, 0)
    reference = ReconstructionReference(original, space="net", fingerprint="abc")
    candidate = Reconstructions(back, "net", "abc")
    sets = distances.Sets(SPACE, reference, candidate)
    found = distances.fixed_count(aggregator({"ct": 20_000}), sets, "all")
    rng = np.random.default_rng(1)
    rows = np.stack([rng.choice(20_000, 500, replace=False) for _ in range(200)])
    fresh = reference.frechet_over(candidate, rows)
    assert 0.80 <= np.mean((found.low <= fresh) & (fresh <= found.high)) <= 1.0


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
