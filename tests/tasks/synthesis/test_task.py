"""The whole task on a small set: what a record holds, what is kept, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from medbench.harness.errors import CellFailed, MissingPrerequisite, UsageError
from medbench.harness.locations import cache_root
from medbench.harness.protocol import Encoding
from medbench.leaderboard.site.build import build_site
from medbench.leaderboard.submission import check_submission

TOY = "toy_blocks:Blocks"


def _generator_folder():
    folders = list((cache_root() / "generators").iterdir())
    assert len(folders) == 1
    return folders[0]


def _values(record):
    return {(m.name, m.group, m.setting): m.value for m in record.metrics}


def test_record_holds_means_over_seeds_with_their_spread(first, tmp_path):
    record = first
    assert record.status == "partial"
    assert "never ranked" in record.status_reason
    found = record.metric("class_accuracy", "macro")
    assert len(found.replicates) == 2
    assert found.value == pytest.approx(sum(found.replicates) / 2)
    assert "2 sampling seeds, standard deviation" in found.flags[0]
    for setting in ("real", "floor"):
        assert record.metric("class_accuracy", "macro", setting).value is not None
    assert record.metric("diversity", "mri", "real").n == 2
    assert "all pairs of 2 images a class" in record.metric("diversity", "macro").flags
    copies = record.metric("nearest_training", "mri", "floor")
    assert copies.n == 9, "no more than were learnt"
    assert copies.value < record.metric("nearest_training", "mri").value
    absent = record.metric("gfd_random", "all")
    assert absent.value is None
    assert "at least 100 are needed" in absent.reason
    rows = pd.read_parquet(next((tmp_path / "results").rglob("*.parquet")))
    assert len(rows) == 2 * 2 * 6
    assert rows["sha256"].nunique() == len(rows)


def test_sheets_of_local_pixels_are_written_and_reach_no_site_and_no_submission(first, tmp_path):
    assert first.gallery == [], "the licence of a user's own file is unknown"
    results = tmp_path / "results"
    pictures = {path.name for path in results.rglob("*.png")}
    assert {"class-00.png", "class-01.png", "nearest-00.png"} <= pictures
    build_site(results, tmp_path / "site")
    assert [path.name for path in (tmp_path / "site").rglob("*.png")] == ["error-scale.png"]
    assert not list((tmp_path / "site").rglob("*.local.gallery"))
    (checked,) = check_submission(results)
    assert checked.problems == []
    subprocess.run(["git", "init", "--quiet", results], check=True)
    subprocess.run(["git", "-C", results, "add", "--all"], check=True)
    added = subprocess.run(["git", "-C", results, "ls-files"], check=True, capture_output=True)
    assert b".json" in added.stdout
    assert b".local.gallery" not in added.stdout


def test_codes_and_generator_are_kept_and_give_the_same_again(synthesise, first):
    folder = _generator_folder()
    written = (folder / "weights.safetensors").stat().st_mtime_ns
    again = synthesise(TOY, output="again")
    assert (folder / "weights.safetensors").stat().st_mtime_ns == written
    assert again.timing.encode_seconds == 0
    given = synthesise(TOY, output="given", generator=folder)
    assert _values(first) == _values(again) == _values(given)
    hashes = {m.name: m.definition_hash for m in first.metrics}
    assert hashes == {m.name: m.definition_hash for m in given.metrics}


def test_another_seed_gives_other_samples_of_the_same_generator(synthesise, first, tmp_path):
    synthesise(TOY, output="other", seed=1, batch_size=3)
    shutil.rmtree(cache_root() / "samples")
    synthesise(TOY, output="same", batch_size=3)
    tables = {
        name: pd.read_parquet(next((tmp_path / name).rglob("*.parquet")))
        for name in ("results", "other", "same")
    }
    assert (tables["results"]["sha256"] == tables["same"]["sha256"]).all()
    assert (tables["results"]["sha256"] != tables["other"]["sha256"]).any()
    _generator_folder()


def test_generator_of_another_tokenizer_is_refused(synthesise, first, tmp_path):
    other = tmp_path / "other-generator"
    shutil.copytree(_generator_folder(), other)
    facts = json.loads((other / "generator.json").read_text())
    facts["tokenizer"]["name"] = "another"
    (other / "generator.json").write_text(json.dumps(facts))
    (other / "generator.json.sha256").unlink()  # the change was meant
    with pytest.raises(UsageError, match="codes of another tokenizer .*name: another there"):
        synthesise(TOY, output="refused", generator=other)
    facts["tokenizer"] = json.loads((_generator_folder() / "generator.json").read_text())[
        "tokenizer"
    ]
    facts["classes"] = ["ct", "mri"]
    (other / "generator.json").write_text(json.dumps(facts))
    with pytest.raises(UsageError, match="knows the classes ct, mri, and not xray"):
        synthesise(TOY, output="refused", generator=other)


def _changed(folder, **terms):
    facts = json.loads((folder / "generator.json").read_text())
    (folder / "generator.json").write_text(json.dumps(facts | terms))
    (folder / "generator.json.sha256").unlink(missing_ok=True)  # the change was meant


def test_classes_of_a_given_generator_are_asked_for_by_its_own_numbers(synthesise, first, tmp_path):
    other = tmp_path / "other-generator"
    shutil.copytree(_generator_folder(), other)
    _changed(other, classes=["xray", "mri"])
    weights = load_file(other / "weights.safetensors")
    table = weights["cls_embedding.embedding_table.weight"]
    table[:2] = table[:2].flip(0)
    save_file(weights, other / "weights.safetensors")
    (other / "weights.safetensors.sha256").unlink(missing_ok=True)
    assert _values(synthesise(TOY, output="given", generator=other)) == _values(first)


def test_weights_of_a_kept_generator_keep_its_description(synthesise, first, tmp_path):
    weights = _generator_folder() / "weights.safetensors"
    given = synthesise(TOY, output="given", generator=weights)
    assert _values(given) == _values(first)
    other = tmp_path / "other-generator"
    shutil.copytree(_generator_folder(), other)
    _changed(other, data="0" * 64)
    changed = synthesise(TOY, output="given", generator=other)
    assert changed.identity.options != given.identity.options
    _changed(other, training=None)
    with pytest.raises(UsageError, match="training"):
        synthesise(TOY, output="given", generator=other)


def test_generator_of_other_images_is_marked_and_not_ranked(synthesise, first, tmp_path):
    other = tmp_path / "other-generator"
    shutil.copytree(_generator_folder(), other)
    _changed(other, data="0" * 64)
    record = synthesise(TOY, output="given", generator=other)
    assert record.status == "partial"
    assert "learnt other images" in record.status_reason
    assert "generator of other images" in record.metric("class_accuracy", "macro").flags


def test_generator_of_an_unranked_preset_is_not_ranked_under_another_one(
    synthesise, first, tmp_path, micro
):
    ranked = micro.with_name("ranked.yaml")
    ranked.write_text(f"{micro.read_text()}\nranked: true\n", encoding="utf-8")
    given = synthesise(TOY, output="given", generator=_generator_folder(), preset=ranked)
    assert given.status == "partial"
    assert "a preset for trying out" in given.status_reason
    assert synthesise(TOY, output="trained", preset=ranked).status == "ok"


def test_checkpoint_file_is_taken_in_the_published_order_and_marked(synthesise, first, tmp_path):
    weights = load_file(_generator_folder() / "weights.safetensors")
    # Published numbers: 2 is xray; mri is not among them, dermoscopy (3) is.
    name = "cls_embedding.embedding_table.weight"
    weights[name] = torch.randn(7, weights[name].shape[1])
    checkpoint = tmp_path / "published.pt"
    torch.save({"model": weights}, checkpoint)
    with pytest.raises(UsageError, match="and not mri"):
        synthesise(TOY, output="refused", generator=checkpoint)
    record = synthesise(TOY, output="given", generator=checkpoint, modality="dermoscopy")
    assert record.status == "partial"
    assert "does not say whose codes it makes" in record.status_reason
    assert "unverified generator" in record.metric("class_accuracy", "macro").flags


def test_checkpoint_file_of_another_shape_is_refused_before_anything_is_trained_or_measured(
    synthesise, own_cache, tmp_path, monkeypatch
):
    def begun(*_, **__):
        pytest.fail("begun")

    for name in ("trained_classifier", "build_extractor", "original_features"):
        monkeypatch.setattr(f"medbench.tasks.synthesis.stages.{name}", begun)
    checkpoint = tmp_path / "other.pt"
    torch.save({"model": {"norm.weight": torch.ones(7)}}, checkpoint)
    with pytest.raises(UsageError, match="does not fit the network.*taken from --preset"):
        synthesise(TOY, generator=checkpoint, modality="dermoscopy")


def test_codes_that_the_code_behind_a_name_changed_are_learnt_anew(synthesise, first, monkeypatch):
    toy = sys.modules["toy_blocks"].Blocks
    encode = toy.encode

    def flipped(self, images):
        return Encoding(indices=7 - encode(self, images).indices)

    monkeypatch.setattr(toy, "encode", flipped)
    synthesise(TOY, output="again")
    assert len(list((cache_root() / "generators").iterdir())) == 2


def test_samples_are_drawn_once_for_any_definition_of_the_metrics(
    synthesise, first, monkeypatch, micro
):
    def draws(*_, **__):
        pytest.fail("drawn again")

    wider = micro.with_name("wider.yaml")
    wider.write_text(micro.read_text().replace("diversity_images: 2", "diversity_images: 3"))
    monkeypatch.setattr("medbench.tasks.synthesis.generator.network.Generator.generate", draws)
    again = synthesise(TOY, output="again", preset=wider)
    assert again.metric("diversity", "mri").n == 3
    name = ("class_accuracy", "mri", "")
    assert _values(again)[name] == _values(first)[name] is not None


def test_samples_stay_themselves_when_more_are_drawn(synthesise, first, tmp_path, micro):
    more = micro.with_name("more.yaml")
    more.write_text(micro.read_text().replace("samples: 6", "samples: 40"))
    synthesise(TOY, output="more", preset=more)
    few, many = (
        pd.read_parquet(next((tmp_path / name).rglob("*.parquet"))).set_index("id")["sha256"]
        for name in ("results", "more")
    )
    assert len(many) > len(few)
    assert (many[few.index] == few).all()


def test_memory_that_does_not_suffice_for_sampling_is_told_with_the_way_out(
    synthesise, own_cache, monkeypatch
):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("medbench.tasks.synthesis.generator.network.Generator.generate", full)
    with pytest.raises(CellFailed, match=r"32 images at a time.*sampling: \{rows"):
        synthesise(TOY)


def test_folder_without_a_generator_is_refused(synthesise, tmp_path):
    with pytest.raises(MissingPrerequisite, match="no generator there"):
        synthesise(TOY, generator=tmp_path)


@pytest.mark.parametrize(("tokenizer", "words"), [("down16", "kind bound"), ("jpeg@8000", "codec")])
def test_what_has_no_codes_is_not_applicable_in_words(synthesise, tokenizer, words):
    record = synthesise(tokenizer)
    assert record.status == "not-applicable"
    assert words in record.status_reason


def test_too_few_training_images_are_refused_by_name(synthesise):
    with pytest.raises(UsageError, match=r"too few training images per class: mri \(3\)"):
        synthesise(TOY, limit=3)


def test_scored_images_that_are_training_images_are_told_and_left_out(
    synthesise, own_cache, two_sets, tmp_path
):
    for name in ("a", "b"):
        with np.load(two_sets / f"{name}.npz") as arrays:
            changed = dict(arrays)
        changed["test_images"][:2] = changed["train_images"][:2]
        np.savez(tmp_path / f"{name}.npz", **changed)
    record = synthesise(TOY, root=tmp_path)
    (told,) = [text for text in record.warnings if "pixel by pixel in the training part" in text]
    # Six images of each class are read for six samples, and both copies are among them or not.
    copies = int(told.split()[0])
    assert 1 <= copies <= 4
    assert told.startswith(f"{copies} of 12 scored images")


def test_limit_below_the_samples_takes_no_training_image_where_test_has_enough(
    synthesise, own_cache, micro, write_sets, tmp_path
):
    many = micro.with_name("many.yaml")
    many.write_text(micro.read_text().replace("samples: 6", "samples: 12"))
    root = write_sets(tmp_path, {"train": 14, "test": 20})
    record = synthesise(TOY, root=root, preset=many, limit=9)
    assert record.dataset.groups == {"mri": 9, "xray": 9}
    assert not [m for m in record.metrics if "contains training images" in m.flags]
    assert record.metric("precision", "mri").n == 9
    assert record.metric("class_accuracy", "mri").n == 9, "no more samples than real images"


def test_labels_are_the_classes_of_a_set_of_one_modality(synthesise, own_cache):
    with pytest.raises(UsageError, match=r"label:0 \(5\), label:1 \(4\)"):
        synthesise(TOY, dataset="one")


@pytest.mark.slow
def test_smoke_preset_runs_on_medsynth(tmp_path):
    from medbench.harness.request import Request
    from medbench.harness.runner import execute

    request = Request(
        tokenizers=["meditok"],
        tasks=["synthesis"],
        limit=12,
        output=tmp_path,
        options={"preset": "smoke"},
    )
    record = execute(request).records[0]
    assert record.status == "partial"
    assert "smoke" in record.metric("gfd_random", "all").flags
    assert (
        record.metric("gfd_random", "all").value > record.metric("gfd_random", "all", "floor").value
    )
    assert {image.group for image in record.gallery} >= set(record.dataset.groups)
    assert all((next(tmp_path.rglob(image.file))).is_file() for image in record.gallery)
