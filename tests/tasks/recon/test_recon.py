"""The reconstruction task on a small data set, against closed forms and other libraries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from medbench.harness.datasets.store import ingest
from medbench.harness.precision import FULL
from medbench.harness.protocol import Encoding, TokenizerInfo
from medbench.harness.registry import load_dataset
from medbench.tasks.recon import measure as measuring
from medbench.tasks.recon.measure import reconstruct


def values(record):
    return {(m.name, m.group): m.value for m in record.metrics if m.value is not None}


class Noisy:
    """A discrete tokenizer of our own making: one bit per patch, plus what its maker chose."""

    kind = "discrete"
    colour = "rgb"

    def __init__(self):
        self.info = TokenizerInfo(
            name="noisy",
            variant="test",
            kind=self.kind,
            colour=self.colour,
            codebooks=1,
            codebook_size=2,
            positions=256,
            layout="raster",
            size_multiple=16,
            downsample=16,
            latent_dims=1,
            bits_per_image=256.0,
            cannot={"features": "a test"},
        )

    def encode(self, images):
        grey = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 16)
        indices = (grey > 0.5).long().flatten(2)
        return Encoding(indices=indices, latents=images)

    def decode(self, encoding):
        return encoding.latents


class Perfect(Noisy):
    """Gives back what it got."""


class OutOfRange(Noisy):
    """Too much contrast: most values leave [0, 1]."""

    def decode(self, encoding):
        return encoding.latents * 8 - 3.5


class Inverted(Noisy):
    """A broken wrapper: the value range is upside down."""

    def decode(self, encoding):
        return 1 - encoding.latents


class GreyOnly(Noisy):
    """Sees brightness only, exactly."""

    colour = "luma"

    def decode(self, encoding):
        weights = torch.tensor([0.299, 0.587, 0.114])
        grey = (encoding.latents * weights[:, None, None]).sum(1, keepdim=True)
        return grey.repeat(1, 3, 1, 1)


def build_perfect(**_):
    return Perfect()


def build_out_of_range(**_):
    return OutOfRange()


def build_inverted(**_):
    return Inverted()


def build_grey_only(**_):
    return GreyOnly()


def build_nan(**_):
    broken = Perfect()
    broken.decode = lambda encoding: encoding.latents * float("nan")
    return broken


def build_wrong_shape(**_):
    broken = Perfect()
    broken.decode = lambda encoding: encoding.latents[:, :, ::2, ::2]
    return broken


@pytest.fixture
def ours(monkeypatch):
    """ours("perfect") -> the reference under which this module's tokenizer can be named."""
    import sys

    monkeypatch.setitem(sys.modules, "recon_tokenizers", sys.modules[__name__])
    return lambda name: f"recon_tokenizers:build_{name}"


def test_per_image_scores_equal_scikit_image(measure, seventy_images, tmp_path):
    record = measure("down16")
    rows = pd.read_parquet(next(tmp_path.rglob("*.parquet")))
    store = ingest(load_dataset(f"folder:{seventy_images}"))
    from medbench.baselines.bounds import build_down16

    tokenizer = build_down16(variant="reference", config=None, weights=None, device="cpu")
    for row in (0, 17, 69):
        original = store.read(row, row + 1)
        back = reconstruct(tokenizer, original, batch=1, device="cpu").images
        assert rows.psnr[row] == pytest.approx(
            peak_signal_noise_ratio(original[0], back[0], data_range=255), abs=1e-6
        )
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        want = structural_similarity(
            original[0], back[0], channel_axis=2, data_range=255, **options
        )
        assert rows.ssim[row] == pytest.approx(want, abs=1e-5)
    assert record.dataset.n == len(rows) == 70


def test_pooled_is_the_mean_over_images_and_macro_the_mean_over_modalities(measure, tmp_path):
    record = measure("down8")
    rows = pd.read_parquet(next(tmp_path.rglob("*.parquet")))
    found = values(record)
    by_group = rows.groupby("group").psnr.mean()
    assert found["psnr", "all"] == pytest.approx(rows.psnr.mean(), rel=1e-12)
    assert found["psnr", "ct"] == pytest.approx(by_group["ct"], rel=1e-12)
    assert found["psnr", "macro"] == pytest.approx(by_group.mean(), rel=1e-12)


def test_intervals_hold_the_value_and_macro_keeps_replicates(measure):
    record = measure("down8")
    for metric in record.metrics:
        if metric.low is not None:
            assert metric.low <= metric.value <= metric.high, metric.name
    macro = record.metric("psnr", "macro")
    assert len(macro.replicates) == 1000
    assert np.mean(macro.replicates) == pytest.approx(macro.value, abs=0.1)
    assert record.metric("psnr", "ct").replicates is None


def test_replicates_of_two_tokenizers_come_from_the_same_draws(measure):
    a, b = (measure(name).metric("psnr", "macro").replicates for name in ("down8", "down16"))
    assert np.corrcoef(a, b)[0, 1] > 0.9


@pytest.mark.parametrize("tokenizer", ["meditok", "down16"])
def test_scores_do_not_depend_on_the_batch_size(measure, tokenizer):
    one, other = (
        values(measure(tokenizer, batch_size=size, output=f"b{size}", limit=5)) for size in (1, 7)
    )
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert other[key] == pytest.approx(value, rel=1e-5, abs=1e-9), key


def test_scores_do_not_depend_on_the_order_of_the_images(measure, seventy_images, tmp_path):
    files = sorted(seventy_images.rglob("*.png"))
    for name, order in (("a.csv", files), ("b.csv", files[::-1])):
        rows = [{"path": str(f), "modality": f.parent.name} for f in order]
        pd.DataFrame(rows).to_csv(tmp_path / name, index=False)
    one, other = (
        values(measure("down16", dataset=f"manifest:{tmp_path / n}")) for n in ("a.csv", "b.csv")
    )
    for (name, group), value in one.items():
        assert other[name, group] == pytest.approx(value, rel=1e-5), (name, group)


def test_a_repeated_run_is_bit_identical(measure):
    one, other = (measure("meditok", output=name, limit=4) for name in ("a", "b"))
    assert one.metrics == other.metrics
    assert one.per_image_sha256 == other.per_image_sha256


def test_an_interrupted_run_goes_on_and_ends_bit_identical(measure, monkeypatch):
    whole = measure("down8", output="whole")
    calls = []
    real = measuring.scores

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(measuring, "scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure("down8", output="parts")
    resumed = measure("down8", output="parts")
    assert len(calls) == 3, "the first shard was measured twice"
    assert resumed.metrics == whole.metrics
    assert resumed.per_image_sha256 == whole.per_image_sha256


def test_exact_copies_score_the_cap_and_one(measure, ours):
    found = values(measure(ours("perfect"), limit=3))
    assert found["psnr", "macro"] == 100
    assert found["ssim", "macro"] == found["ms_ssim", "macro"] == pytest.approx(1)


def test_values_outside_the_range_are_clamped_once_and_counted(measure, seventy_images, ours):
    record = measure(ours("out_of_range"), limit=3)
    store = ingest(load_dataset(f"folder:{seventy_images}"), limit=3)
    outside = (store.images < 111.5625) | (store.images > 143.4375)
    assert record.clamped_fraction == pytest.approx(outside.mean(), abs=1e-6)
    assert any("outside [0, 1]" in warning for warning in record.warnings)


def test_a_broken_wrapper_is_suspect_and_says_which_bound_it_loses_to(measure, ours):
    record = measure(ours("inverted"), limit=5)
    assert record.status == "suspect"
    assert "does not beat the trivial bound" in record.status_reason


def test_a_grey_model_is_judged_on_luma(measure, ours):
    record = measure(ours("grey_only"), limit=5)
    assert record.status == "ok", record.status_reason
    assert values(record)["psnr", "macro"] < 40


@pytest.mark.parametrize(
    ("name", "message"), [("nan", "values are not finite"), ("wrong_shape", r"decode gave \(")]
)
def test_a_broken_decoder_fails_its_cell_and_leaves_no_record(
    measure, ours, tmp_path, name, message
):
    from medbench.harness.errors import CellFailed

    with pytest.raises(CellFailed, match=message):
        measure(ours(name), limit=2)
    assert not [p for p in tmp_path.rglob("*.json") if ".work" not in p.parts]


def test_codes_are_counted_per_modality_and_pooled(measure, ours):
    record = measure(ours("perfect"), limit=3)
    usage = {m.group: m for m in record.metrics if m.name == "usage"}
    assert set(usage) == {"ct", "fundus", "all"}
    assert usage["all"].n == 6 * 256
    assert usage["all"].value == 1.0
    entropy = record.metric("entropy", "all").value
    assert 0 < entropy <= 1
    effective = record.metric("effective_bits_per_pixel", "all").value
    assert effective == pytest.approx(entropy * 256 / 65536)


def test_bits_are_nominal_for_tokenizers_measured_for_codecs_and_none_for_bounds(measure, ours):
    assert values(measure(ours("perfect"), limit=1))["bits_per_image", "all"] == 256
    codec = measure("jpeg@20000", limit=3)
    rows = codec.metric("bits_per_image", "all").value
    assert 0 < rows <= 20000
    assert codec.info.bits_per_image == 20000
    assert ("bits_per_image", "all") not in values(measure("mean", limit=1))


def test_a_budget_that_no_codec_can_keep_is_not_applicable(measure):
    record = measure("jpeg@300", limit=2)
    assert record.status == "not-applicable"
    assert record.metrics == []
    assert record.status_reason


def test_rfid_is_absent_with_the_reason_and_the_house_metric_says_so(measure):
    record = measure("down16")
    rfid = record.metric("rfid", "all")
    assert rfid.value is None
    assert "FID Inception weights" in rfid.reason
    assert record.metric("rfd_random", "all").value is None
    assert "at least 100" in record.metric("rfd_random", "all").reason


def test_limit_and_definition_are_part_of_the_identity(measure):
    two, three = (measure("down16", limit=n) for n in (2, 3))
    assert two.identity.key8 != three.identity.key8
    hashes = [r.metric("psnr", "macro").definition_hash for r in (two, three)]
    assert hashes[0] != hashes[1]
    assert two.identity.precision == FULL
