"""The probe task from end to end, on sets in which the truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics as sklearn_metrics

from medbench.__main__ import invoke
from medbench.harness.datasets.stored_rows import StoredImage
from medbench.harness.errors import MetricError, UsageError
from medbench.harness.record_files import load_records
from medbench.leaderboard.submission import check_submission
from medbench.tasks.probe import definitions as probe_definitions
from medbench.tasks.probe.splits import split_images
from medbench.tasks.probe.task import TASK

from .conftest import Colours, grey_images


def table_of(tmp_path):
    (path,) = tmp_path.rglob("*.parquet")
    return pd.read_parquet(path)


def test_an_easy_set_is_told_apart_in_every_setting(probe, named, make_npz):
    record = probe(named(Colours()), dataset=make_npz())
    found = {(m.name, m.setting): m for m in record.metrics if m.group == "all"}
    settings = probe_definitions.settings()
    assert {setting for _, setting in found} == set(settings)
    for name, setting in found:
        assert found[name, setting].n == 45
    assert found["auc", ""].value > 0.99
    assert found["auc", "10% of labels"].value > 0.95
    assert found["map", ""].low <= found["map", ""].value <= found["map", ""].high
    assert record.status == "ok"


def test_one_group_is_also_all_of_it_with_replicates(probe, named, make_npz):
    record = probe(named(Colours()), dataset=make_npz(contrast=6))
    for name in ("map", "auc", "bacc"):
        group, pooled = record.metric(name, "mri"), record.metric(name, "all")
        assert (group.value, group.low, group.high) == (pooled.value, pooled.low, pooled.high)
        assert group.replicates is None
        assert len(pooled.replicates) == 60
    assert record.metric("acc", "all").replicates is None
    assert record.metric("map", "all", "k-NN").replicates is None


def test_aggregates_follow_from_the_per_image_rows(probe, named, make_npz, tmp_path):
    record = probe(named(Colours()), dataset=make_npz(contrast=1))
    rows = table_of(tmp_path)
    classes = rows.classes[0].tolist()
    truth = np.array([classes.index(label) for label in rows.label])
    scores = np.stack(rows.scores)
    members = truth[:, None] == np.arange(3)
    answers = scores.argmax(axis=1)
    recall = sklearn_metrics.recall_score(truth, answers, average=None)
    expected = {
        "map": sklearn_metrics.average_precision_score(members, scores),
        "auc": sklearn_metrics.roc_auc_score(members, scores),
        "acc": rows.correct.mean(),
        "bacc": recall.mean(),
        "worst_recall": recall.min(),
    }
    for name, value in expected.items():
        assert record.metric(name, "all").value == pytest.approx(value, abs=1e-12), name
    assert 0.4 < expected["acc"] < 0.99, "neither chance nor perfect, or this shows little"
    assert rows.sha256.str.len().eq(64).all()


def test_features_that_say_nothing_score_as_chance(probe, named, make_npz):
    labels = {
        split: np.random.default_rng(4).permutation(np.arange(count) % 3)
        for split, count in {"train": 120, "val": 60, "test": 240}.items()
    }
    changes = {f"{split}_labels": each for split, each in labels.items()}
    record = probe(named(Colours(noise=1.0)), dataset=make_npz(**changes))
    auc = record.metric("auc", "all")
    assert auc.low <= 0.5 <= auc.high
    assert record.metric("map", "all").value == pytest.approx(1 / 3, abs=0.08)
    assert any("not distinguishable from chance" in warning for warning in record.warnings)
    # The paper's selection finds something in nothing, which is why it is labelled.
    paper = record.metric("auc", "all", "lp-paper")
    assert paper.value > max(0.5, auc.value - 0.02)
    assert paper.flags == ["peak on the scored images: optimistic"]
    assert paper.low is None


def test_repeats_exactly_and_another_seed_moves_only_the_papers_protocol(probe, named, make_npz):
    dataset = make_npz(contrast=6)
    tokenizer = named(Colours())
    one, same, other = (
        probe(tokenizer, dataset=dataset, output=name, seed=seed)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert one.metrics == same.metrics
    moved = {
        m.setting for m, n in zip(one.metrics, other.metrics, strict=True) if m.value != n.value
    }
    assert moved == {"lp-paper"}


def labelled_folder(root, groups, rng, splits=("train", "val", "test"), count=24):
    for group in groups:
        for split in splits:
            labels = np.arange(count) % 2
            for index, image in enumerate(grey_images(rng, labels)):
                place = root / group / split / ("b" if labels[index] else "a")
                place.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(place / f"{index:02d}.png")
    return root


def test_a_group_is_probed_by_itself_and_macro_is_the_mean(probe, named, tmp_path, rng):
    root = labelled_folder(tmp_path / "set", ("ct", "fundus"), rng)
    record = probe(named(Colours()), dataset=f"folder@test:{root}")
    for name in ("map", "auc", "acc", "bacc", "worst_recall"):
        values = [record.metric(name, group).value for group in ("ct", "fundus")]
        assert record.metric(name, "macro").value == pytest.approx(np.mean(values))
    assert len(record.metric("auc", "macro").replicates) == 60
    assert record.metric("auc", "all") is None
    assert set(record.identity.parts) == {"train", "val"}


def test_a_folder_without_parts_is_cut_and_the_definition_says_so(probe, named, tmp_path, rng):
    root = labelled_folder(tmp_path / "set", ("ct",), rng, splits=("images",), count=50)
    for directory in list((root / "ct" / "images").iterdir()):
        directory.rename(root / "ct" / directory.name)
    (root / "ct" / "images").rmdir()
    record = probe(named(Colours()), dataset=f"folder:{root}")
    metric = record.metric("auc", "all")
    assert metric.n == 10
    assert record.definitions[metric.definition].facts["parts"] == {
        "cut": "60/20/20 by patient within classes",
        "rule": "split-by-unit-1",
    }


def test_both_layouts_of_a_folder_are_probed_alike_from_the_command_line(tmp_path, rng):
    root = labelled_folder(tmp_path / "set", ("fundus",), rng)
    found = []
    for output, dataset in (
        ("one", f"folder@fundus:{root / 'fundus'}"),
        ("two", f"folder@test:{root}"),
    ):
        words = ["run", "--task", "probe", "--tokenizer", "pixels", "--dataset", dataset]
        assert invoke([*words, "--output", str(tmp_path / output)]) == 0
        found += load_records(tmp_path / output)
    one, two = found
    assert one.metric("auc", "all").value == two.metric("auc", "all").value > 0.9
    assert one.metric("auc", "all").n == 24
    assert set(one.identity.parts) == {"train", "val"}


def test_of_a_folder_with_train_and_test_validation_is_taken_from_train(probe, tmp_path, rng):
    root = labelled_folder(tmp_path / "set", ("fundus",), rng, splits=("train", "test"), count=40)
    record = probe("pixels", dataset=f"folder@fundus:{root / 'fundus'}")
    parts = record.definitions["map-lp-val-1"].facts["parts"]
    assert parts["val"]["cut"].startswith("25 % of train")
    assert record.metric("auc", "all").n == 40


def test_validation_images_are_taken_from_train_where_there_are_none(probe, named, make_npz):
    record = probe(named(Colours()), dataset=make_npz(without=["val"]))
    parts = record.definitions["map-lp-val-1"].facts["parts"]
    assert parts["val"]["cut"].startswith("25 % of train")
    assert record.metric("auc", "all").value > 0.99


def test_several_labels_are_independent_problems(probe, named, make_npz, tmp_path):
    rng = np.random.default_rng(0)
    tables = {
        f"{split}_labels": (rng.random((count, 2)) < [0.5, 0.3]).astype(int)
        for split, count in {"train": 80, "val": 60, "test": 70}.items()
    }
    record = probe(named(Colours()), dataset=make_npz(**tables))
    rows = table_of(tmp_path)
    truth, scores = tables["test_labels"], np.stack(rows.scores)
    expected = sklearn_metrics.roc_auc_score(truth, scores, average="macro")
    assert record.metric("auc", "all").value == pytest.approx(expected, abs=1e-12)
    assert record.metric("auc", "all").low is not None
    decided = (np.exp(scores) > 0.5) == truth
    assert record.metric("acc", "all").value == pytest.approx(decided.mean())
    assert "no single answer" in record.metric("bacc", "all").reason
    assert rows.correct.isna().all()


def test_kinds_that_a_tokenizer_lacks_are_absent_with_the_reason(probe, make_npz):
    record = probe("down16", dataset=make_npz())
    assert record.metric("map", "all").value > 0.5
    assert "no encoder" in record.metric("map", "all", "cont-mean lp-val").reason


def test_a_codec_takes_no_part_and_says_why(probe, make_npz):
    record = probe("jpeg", dataset=make_npz())
    assert record.status == "not-applicable"
    assert "no latents to probe" in record.status_reason


def test_raw_pixels_are_a_reference_row_in_the_main_setting(probe, make_npz):
    record = probe("pixels", dataset=make_npz())
    assert record.metric("auc", "all").value > 0.99
    assert record.info.kind == "bound"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": np.arange(30) % 2}, "no image of the val part is labelled '2'"),
        ({"test_labels": np.arange(45) % 2}, "no image of the test part is labelled '2'"),
        ({"train_labels": np.arange(60) % 2}, "no training image is labelled '2'"),
        ({"train_labels": np.zeros(60, int)}, "all 60 training images are labelled '0'"),
    ],
)
def test_a_class_that_a_part_lacks_is_named(probe, named, make_npz, changes, message):
    with pytest.raises(MetricError, match=message):
        probe(named(Colours()), dataset=make_npz(**changes))


def test_a_group_without_images_does_not_stop_the_others(probe, named, tmp_path, rng):
    root = labelled_folder(tmp_path / "set", ("ct", "fundus"), rng)
    for path in (root / "fundus" / "val").rglob("*.png"):
        path.unlink()
    record = probe(named(Colours()), dataset=f"folder@test:{root}")
    assert record.metric("auc", "ct").value > 0.9
    assert "fundus: the val part has no labelled image" in record.metric("auc", "fundus").reason
    assert "the val part" in record.metric("auc", "macro").reason


def test_images_without_any_label_are_refused(probe, named, image_folder):
    with pytest.raises(UsageError, match="none of the 6 images of the test part has a label"):
        probe(named(Colours()), dataset=f"folder:{image_folder}")


def test_the_scored_part_is_never_learnt_on(probe, named, make_npz, tmp_path, rng):
    dataset = make_npz().replace("npz@mri:", "npz@mri-val:")
    with pytest.raises(UsageError, match="val images would be scored"):
        probe(named(Colours()), dataset=dataset)
    root = labelled_folder(tmp_path / "set", ("ct",), rng)
    with pytest.raises(UsageError, match="Name the part to score"):
        probe(named(Colours()), dataset=f"folder:{root}")


def test_shared_patients_and_pixels_are_told(probe, named, tmp_path, rng):
    lines = ["path,modality,label,patient,split"]
    for index, image in enumerate(grey_images(rng, np.arange(60) % 2)):
        Image.fromarray(image).save(tmp_path / f"{index:02d}.png")
        split = ("train", "train", "validation", "test")[index // 2 % 4]
        patient = "both" if index < 8 else f"p{index}"
        label = "" if index == 59 else index % 2
        lines.append(f"{index:02d}.png,ct,{label},{patient},{split}")
    (tmp_path / "6x.png").write_bytes((tmp_path / "00.png").read_bytes())
    lines.append("6x.png,ct,0,x,test")
    (tmp_path / "set.csv").write_text("\n".join(lines))
    record = probe(named(Colours()), dataset=f"manifest@test:{tmp_path / 'set.csv'}")
    said = " / ".join(record.warnings)
    assert "1 images of the test part are pixel by pixel in train" in said
    assert "1 patients are both in the train and the test part" in said
    assert "1 patients are both in the train and the val part" in said


def test_medsynth_learns_on_a_bounded_number_of_images():
    from medbench.harness.registry import load_dataset

    dataset = load_dataset("medsynth")
    assert TASK.parts(dataset, {}, None) == {"train": 300, "val": None}
    assert TASK.parts(dataset, {}, 12) == {"train": 48, "val": 24}
    assert TASK.parts(dataset, {}, 150) == {"train": 300, "val": 300}


def labelled_table(tmp_path, rng, label_of, count=120):
    lines = ["path,modality,label,split"]
    for index, level in enumerate(np.arange(count) % 3):
        image = grey_images(rng, np.array([level]))[0]
        Image.fromarray(image).save(tmp_path / f"{index:03d}.png")
        split = ("train", "train", "val", "test")[index // 3 % 4]
        lines.append(f"{index:03d}.png,ct,{label_of(level)},{split}")
    (tmp_path / "set.csv").write_text("\n".join(lines))
    return f"manifest@test:{tmp_path / 'set.csv'}"


def test_a_probe_may_be_submitted(probe, named, make_npz, tmp_path):
    probe(named(Colours()), dataset=make_npz())
    (checked,) = check_submission(tmp_path / "results")
    assert checked.problems == []
    assert checked.confirmed > 0


def test_joined_labels_of_a_table_are_independent_problems(probe, named, tmp_path, rng):
    dataset = labelled_table(tmp_path, rng, lambda level: ("a", "a|b", "b")[level])
    record = probe(named(Colours()), dataset=dataset)
    rows = table_of(tmp_path)
    assert rows.classes[0].tolist() == ["a", "b"]
    held = np.array([[name in label.split("|") for name in "ab"] for label in rows.label])
    expected = sklearn_metrics.roc_auc_score(held, np.stack(rows.scores), average="macro")
    assert record.metric("auc", "all").value == pytest.approx(expected, abs=1e-12)
    assert expected > 0.99
    assert "no single answer" in record.metric("bacc", "all").reason


def test_several_labels_are_inferred_for_a_group_even_where_the_test_part_shows_none():
    from medbench.tasks.probe.groups import make_group

    def rows(labels):
        return StoredRows([("ct", each) for each in labels] + [("mri", "x"), ("mri", "y")])

    parts = {"train": ["a", "b", "a | b"], "val": ["a", "b"], "test": ["b", "a"]}
    split = split_images({name: rows(labels) for name, labels in parts.items()})
    ct, mri = (make_group(name, split.parts) for name in ("ct", "mri"))
    assert ct.classes == ("a", "b")
    assert ct.truth["train"].tolist() == [[1, 0], [0, 1], [1, 1]]
    assert ct.multi_label
    assert not mri.multi_label


def test_the_cut_deals_the_images_of_a_rare_label_to_all_parts():
    labels = ["a", "b", "a|b"] * 20 + [f"{each}|rare" for each in ("a", "b", "a|b")]
    split = split_images({"test": StoredRows([("ct", label) for label in labels])})
    for part in split.parts.values():
        assert any("rare" in label for label in part.labels)


class StoredRows:
    """What of an image store the split reads."""

    def __init__(self, images):
        self.rows = [
            StoredImage(f"{i}", group, f"{i:064d}", label, None, 9, 9, notes=())
            for i, (group, label) in enumerate(images)
        ]
