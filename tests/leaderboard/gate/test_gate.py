"""What the gate refuses, allows and says."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from medbench.harness.errors import UsageError
from medbench.leaderboard.gate.cells import device_class
from medbench.leaderboard.gate.junit import junit_xml, refusal_xml
from medbench.leaderboard.gate.policy import Policy, read_policy
from medbench.leaderboard.gate.report import facts, markdown_report, text_report
from medbench.leaderboard.gate.verdict import judge


@pytest.fixture
def two(lab):
    """The same cell twice, the second one clearly worse in PSNR."""
    rng = np.random.default_rng(0)
    scores = lab.scores(rng)
    worse = scores + lab.changes(rng, 0.01)
    worse[0] -= 0.5
    return lab.measured(scores), lab.measured(worse)


def changed(stored, **fields):
    from dataclasses import replace

    return replace(stored, record=stored.record.model_copy(update=fields))


def test_a_clear_loss_fails_and_the_other_way_round_passes(two):
    good, bad = two
    assert not judge([bad], [good], Policy()).passed
    assert judge([good], [bad], Policy()).passed


def test_a_loss_below_the_minimum_effect_passes(two):
    good, bad = two
    assert judge([bad], [good], Policy(minimum_effect={"psnr": 0.6})).passed


def test_repeat_noise_widens_the_interval(two):
    good, bad = two
    plain = judge([bad], [good], Policy(groups="overall")).comparisons[0].findings[0]
    noisy = judge([bad], [good], Policy(groups="overall", noise={"psnr": 1.0}))
    finding = noisy.comparisons[0].findings[0]
    assert noisy.passed
    assert finding.standard_error == pytest.approx(np.hypot(plain.standard_error, np.sqrt(2)))


def test_noise_is_measured_from_repeats_of_the_same_weights(lab, two):
    from dataclasses import replace
    from pathlib import Path

    good, bad = two
    shifts = (-1.5, 0.0, 1.5)
    scores = lab.scores(np.random.default_rng(0))
    again = [
        replace(lab.measured(scores + np.array([[s], [0], [0]])), path=Path(f"{s}.json"))
        for s in shifts
    ]
    verdict = judge([bad], [good], Policy(groups="overall", metrics=["psnr"]), repeats=again)
    (finding,) = verdict.comparisons[0].findings
    # Four measurements with those of the baseline itself: 0, -1.5, 0, 1.5.
    assert finding.noise == pytest.approx(np.std([0, *shifts], ddof=1))
    assert verdict.passed


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("limit", 7, "limits differ"),
        ("precision", "bfloat16", "precisions differ"),
        ("options", {"preset": "tiny"}, "task options differ"),
        ("parts", {"train": "0" * 8}, "training parts differ"),
    ],
)
def test_other_identities_are_refused(two, field, value, message):
    good, bad = two
    identity = bad.record.identity.model_copy(update={field: value})
    with pytest.raises(UsageError, match=message):
        judge([changed(bad, identity=identity)], [good], Policy())


def test_other_images_are_refused(two):
    good, bad = two
    dataset = bad.record.dataset.model_copy(update={"fingerprint": "0" * 64})
    with pytest.raises(UsageError, match="images differ"):
        judge([changed(bad, dataset=dataset)], [good], Policy())


@pytest.mark.parametrize(
    ("device", "name", "kind"),
    [("cpu", "x86", "cpu"), ("cuda:1", "H200", "cuda H200"), ("mps", "M4", "mps")],
)
def test_device_classes(two, device, name, kind):
    environment = two[0].record.environment.model_copy(
        update={"device": device, "device_name": name}
    )
    assert device_class(environment) == kind
    if kind != "cpu":
        with pytest.raises(UsageError, match="device classes differ: 'cpu' and"):
            judge([changed(two[1], environment=environment)], [two[0]], Policy())


def test_other_definitions_are_refused(two):
    from dataclasses import replace

    good, bad = two
    metrics = [replace(m, definition_hash="f" * 16) for m in bad.record.metrics]
    with pytest.raises(UsageError, match="other definitions of psnr"):
        judge([changed(bad, metrics=metrics)], [good], Policy())


@pytest.mark.parametrize("status", ["failed", "withdrawn", "stale", "not-applicable"])
def test_records_that_were_not_measured_are_refused(two, status):
    with pytest.raises(UsageError, match=f"the new record is {status}"):
        judge([changed(two[1], status=status)], [two[0]], Policy())


def test_a_cell_that_was_not_measured_anew_is_refused_unless_allowed(lab, two):
    good, _ = two
    other = lab.measured(lab.scores(np.random.default_rng(1)), name="other@tiny")
    with pytest.raises(UsageError, match="not measured anew: recon/medsynth other@tiny"):
        judge([good], [good, other], Policy())
    verdict = judge([good], [good, other], Policy(missing="report"))
    assert verdict.passed
    assert "not measured anew" in text_report(verdict)


def test_a_metric_that_has_no_new_value_is_refused(two):
    good, bad = two
    fewer = [m for m in bad.record.metrics if m.name != "ssim"]
    with pytest.raises(UsageError, match=r"SSIM ↑ of macro has no new value"):
        judge([changed(bad, metrics=fewer)], [good], Policy())


def test_a_metric_that_the_policy_names_and_nobody_has_is_refused(two):
    with pytest.raises(UsageError, match="the policy names it, no cell has it"):
        judge([two[0]], [two[0]], Policy(metrics=["psnr", "map"]))


def test_one_tokenizer_on_each_side_is_paired_whatever_its_name(lab, two):
    scores = lab.scores(np.random.default_rng(0))
    verdict = judge([lab.measured(scores, name="mine@1")], [two[0]], Policy())
    assert "mine@1 is compared with lab@tiny" in text_report(verdict)


def test_names_can_be_paired_by_the_policy(lab):
    scores = lab.scores(np.random.default_rng(0))
    old = [lab.measured(scores, name=name) for name in ("a@1", "b@1")]
    new = [lab.measured(scores, name=name) for name in ("c@1", "b@1")]
    assert judge(new, old, Policy(pairs={"a@1": "c@1"})).passed
    with pytest.raises(UsageError, match="not measured anew"):
        judge(new, old, Policy())


def test_a_loss_in_one_modality_is_found(lab):
    rng = np.random.default_rng(0)
    scores = lab.scores(rng)
    change = lab.changes(rng, 0.2)
    change[0, :16] -= 0.5
    change[0, 16:32] += 0.5
    verdict = judge([lab.measured(scores + change)], [lab.measured(scores)], Policy())
    assert [f.group for f in verdict.comparisons[0].worse] == ["ct"]


def test_every_output_says_what_got_worse(two):
    good, bad = two
    verdict = judge([bad], [good], Policy(), release=[good])
    assert "PSNR (dB) ↑ of macro went from" in text_report(verdict)
    assert "medbench gate: failed" in markdown_report(verdict)
    assert facts(verdict)["passed"] is False
    root = ET.fromstring(junit_xml(verdict))
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"against the baseline", "against the release"}
    suite = suites["against the baseline"]
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) > 0
    assert int(suite.get("tests")) == len(suite.findall("testcase"))


def test_a_refusal_is_an_error_in_junit():
    root = ET.fromstring(refusal_xml("other \x00 images & <more>"))
    assert "images & <more>" in root.find("testsuite/testcase/error").text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpha: 2", "alpha"),
        ("metrics: [psnrr]", "unknown metric 'psnrr'"),
        ("metrics: [usage]", "no better direction"),
        ("minimum_effect: {psnr: -1}", "not an amount"),
        ("minimum_effect: {psnr: .nan}", "not an amount"),
        ("colour: red", "Extra inputs"),
        ("[1, 2]", "dictionary"),
        ("a: [", "not a readable policy"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_place(tmp_path, text, message):
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_policy(path)


def test_an_empty_policy_is_the_default(tmp_path):
    (tmp_path / "gate.yaml").write_text("# defaults\n")
    assert read_policy(tmp_path / "gate.yaml") == Policy()
