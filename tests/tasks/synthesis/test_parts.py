"""The pieces of the task: presets, the reference, batches of codes, spread over seeds."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from medbench.harness.datasets.dataset import pick_per_group
from medbench.harness.errors import NotApplicable, UsageError
from medbench.harness.protocol import TokenizerInfo
from medbench.harness.registry import load_dataset
from medbench.harness.training import parallel
from medbench.tasks.synthesis.classes import (
    class_of_rows,
    classes_of,
    find_classes,
    group_limit,
    pick_per_class,
)
from medbench.tasks.synthesis.generator.config import read_config
from medbench.tasks.synthesis.generator.load import new_generator
from medbench.tasks.synthesis.generator.sampling import Sampling
from medbench.tasks.synthesis.presets import find_preset, preset_identity, presets
from medbench.tasks.synthesis.recipe import GeneratorRecipe
from medbench.tasks.synthesis.reference import (
    CONTAINS_TRAINING,
    choose_reference,
    scored_training_images,
)
from medbench.tasks.synthesis.task import TASK, SynthesisTask
from medbench.tasks.synthesis.tokenizer_key import tokenizer_key

DOCS = Path(__file__).parents[3] / "docs" / "synthesis.md"


def test_paper_is_what_the_paper_says():
    paper, script = presets()["paper"], presets()["script"]
    assert (paper.network["n_layer"], paper.network["dim"], paper.samples) == (12, 768, 500)
    assert paper.settings(189_056, 128).steps == 200 * (189_056 // 128)
    assert script.settings(189_056, 128).steps == 300 * (189_056 // 128)
    schedule = paper.optimiser.schedule(1000)
    assert schedule.rate(0) == schedule.rate(999) == 1e-4
    assert [name for name, preset in presets().items() if not preset.ranked] == ["smoke"]


def test_a_file_extends_a_preset_and_is_known_by_its_terms(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("extends: tiny\nsamples: 7\n")
    second.write_text("samples: 7\nextends: tiny\n")
    assert find_preset(str(first)).samples == 7
    assert find_preset(str(first)).network == presets()["tiny"].network
    assert preset_identity(str(first)) == preset_identity(str(second))
    second.write_text("samples: 8\nextends: tiny\n")
    assert preset_identity(str(first)) != preset_identity(str(second))


def test_the_page_says_what_the_presets_say(tmp_path):
    page = DOCS.read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| `")]
    told = {row[0].strip(" `"): [int(n) for n in row[3:]] for row in rows if len(row) == 6}
    assert told == {
        name: [preset.samples, preset.diversity_images, preset.seeds]
        for name, preset in presets().items()
    }
    example = tmp_path / "cool.yaml"
    example.write_text(page.partition("```yaml")[2].partition("```")[0], encoding="utf-8")
    cool = find_preset(str(example))
    assert cool.sampling == Sampling(temperature=0.9, top_p=0.95, cfg_scale=2.0)
    assert cool.training_terms() == presets()["tiny"].training_terms()
    plain = {name for name, preset in presets().items() if preset.sampling == Sampling()}
    assert plain == {"paper", "script", "small", "smoke"}
    assert presets()["tiny"].sampling == Sampling(cfg_scale=3.0, top_k=50)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: tiny\nsample: 3\n", "unknown terms: sample"),
        ("extends: tiny\nsamples: 1\n", "at least 2 samples"),
        ("extends: tiny\nepochs: 3\n", "either `epochs` or `steps`"),
        ("extends: tiny\nbatch_size: 4\n", "either `batch_size` or `step_positions`"),
        ("extends: tiny\nstep_logits: 0\n", "1 of everything else"),
        ("extends: tiny\ncontext_noise: 0.6\n", "context_noise is a mean share of 0 to 0.5"),
        ("extends: tiny\ncode_vectors: best\n", "code_vectors"),
        ("extends: tiny\nsteps: 5\n", "warm-up"),
        ("extends: tiny\nnetwork: {n_head: 5}\n", "dim 128 must be a multiple"),
        ("extends: tiny\nnetwork: {n_heads: 4}\n", "unknown terms: n_heads"),
        ("extends: tiny\nnetwork: {class_dropout_prob: 0}\n", "cfg_scale 3 needs a network"),
        ("extends: tiny\nsampling: {temperature: 0}\n", "temperature above 0"),
        ("extends: nothing\n", "nothing must hold terms"),
    ],
)
def test_wrong_presets_are_refused_by_their_file(tmp_path, text, words):
    path = tmp_path / "preset.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words) as refused:
        find_preset(str(path))
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("positions", "codebooks", "codes", "images", "counted"),
    [
        (256, 8, 4096, 8, 32),
        (256, 1, 1024, 8, 1024),  # more than there are: all
        (817, 1, 16384, 2, 256),
        (1024, 1, 32768, 2, 128),
        (2048, 16, 1 << 20, 1, 1),
    ],
)
def test_a_step_of_tiny_costs_alike_for_every_tokenizer(
    positions, codebooks, codes, images, counted
):
    tiny = presets()["tiny"]
    assert tiny.images_per_step(positions) == images
    assert tiny.positions_per_image(codebooks * codes, images) == counted


def test_the_paper_learns_from_all_of_its_images_and_from_true_codes():
    paper = presets()["paper"]
    assert paper.images_per_step(256) == paper.images_per_step(1024) == 128
    assert paper.positions_per_image(8 * 4096, 128) == 0
    assert (paper.context_noise, paper.code_vectors) == (0, "random")


def test_too_few_images_for_the_warm_up_are_told_by_their_number():
    with pytest.raises(UsageError, match=r"108 training images.*60 steps.*warm-up alone has 100"):
        presets()["small"].settings(108, 128)
    assert presets()["small"].settings(256, 128).steps == 120


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(UsageError, match="Did you mean: tiny"):
        find_preset("tinny")


def _cell(**facts):
    terms = {"name": "t", "variant": "v", "kind": "discrete", "codebooks": 1, "codebook_size": 8}
    info = TokenizerInfo(**(terms | facts))
    return SimpleNamespace(tokenizer=SimpleNamespace(info=info), identity=None)


@pytest.mark.parametrize(
    ("layout", "positions", "wanted"),
    [("raster", 256, "raster"), ("scales", 256, "sequence"), ("scales", 817, "sequence")],
)
def test_positions_are_a_grid_only_where_the_tokenizer_says_so(layout, positions, wanted):
    key = tokenizer_key(_cell(layout=layout, positions=positions))
    assert key.layout == wanted
    config = read_config({"dim": 32, "n_layer": 1, "n_head": 2, **key.network_terms(3)})
    assert (config.block_size, config.codebook_size) == (positions, 8)


def test_tokenizer_that_cannot_decode_is_not_applicable():
    cell = _cell(layout="raster", positions=16, cannot={"decode": "an encoder alone"})
    with pytest.raises(NotApplicable, match="cannot decode: an encoder alone"):
        tokenizer_key(cell)


def _store(groups, labels=None, *, pixels="other"):
    """A store of such rows; the pixels of each are named after `pixels` and its place."""
    labels = labels or [None] * len(groups)
    rows = [
        SimpleNamespace(id=f"{k}", group=group, label=label, sha256=f"{pixels}-{k}")
        for k, (group, label) in enumerate(zip(groups, labels, strict=True))
    ]
    return SimpleNamespace(rows=rows)


@pytest.mark.parametrize(
    ("groups", "labels", "wanted"),
    [
        (["mri", "ct", "mri"], ["a", "b", "c"], ("ct", "mri")),
        (["mri"] * 3, ["b", "a", "a"], ("label:a", "label:b")),
        (["mri"] * 3, ["a", None, "b"], ("mri",)),
        (["mri"] * 3, ["a", "a|b", "b"], ("mri",)),
    ],
)
def test_classes_are_modalities_or_the_labels_of_one(groups, labels, wanted):
    assert find_classes(_store(groups, labels).rows) == wanted


def _dataset(labels):
    items = [SimpleNamespace(id=f"{k}", group="ct", label=each) for k, each in enumerate(labels)]
    return SimpleNamespace(items=lambda limit: pick_per_group(items, limit))


def test_limit_is_of_each_label_where_labels_are_the_classes():
    labels = ["rare"] * 9 + ["frequent"] * 41
    names = ("label:frequent", "label:rare")
    limit = group_limit(_dataset(labels), names, 6, None)
    picked = _dataset(labels).items(limit)
    counts = Counter(item.label for item in picked)
    assert counts["rare"] == 6
    assert counts["frequent"] >= 6
    assert Counter(item.label for item in _dataset(labels).items(limit - 1))["rare"] == 5
    assert group_limit(_dataset(labels), names, 6, 10) == 10, "the user's limit stays"
    assert group_limit(_dataset(labels), names, 10, None) is None, "all of a set that has too few"
    assert group_limit(_dataset(labels), names, None, 7) == 7
    assert group_limit(_dataset([None] * 20), ("ct",), 6, None) == 6
    # Classes are the training part's: an image without label makes the scored part no other set.
    assert group_limit(_dataset([None, *labels]), names, 6, None) >= limit
    assert group_limit(_dataset(["frequent"] * 9), names, 6, None) == 6, "it has no other"


def test_a_set_of_several_groups_is_not_listed_whole():
    listed = []

    def items(limit):
        listed.append(limit)
        return [SimpleNamespace(id=group, group=group, label="") for group in ("ct", "mri")]

    dataset = SimpleNamespace(items=items)
    names = classes_of(dataset, None)
    assert names == ("ct", "mri")
    assert group_limit(dataset, names, 6, None) == 6
    assert group_limit(dataset, names, 6, 4) == 4
    assert listed == [1]


@pytest.mark.parametrize("label", ["a" * 81, "two\nlines"])
def test_label_that_no_record_can_hold_is_refused_before_an_image_is_read(label):
    dataset = _dataset(["b" * 80] * 9 + [label] * 9)
    dataset.part = lambda _: dataset
    with pytest.raises(UsageError, match=re.escape(f"{label!r} has {len(label)} characters")):
        SynthesisTask().scored_limit(dataset, {}, None)
    assert find_classes(_dataset(["b" * 80, "c"]).items(None)) == (f"label:{'b' * 80}", "label:c")


def test_no_class_has_more_training_images_than_asked_for():
    store = _store(["ct"] * 30, ["rare"] * 8 + ["frequent"] * 22)
    numbers = class_of_rows(store, ("label:frequent", "label:rare"))
    rows = pick_per_class(store, numbers, 10)
    assert np.bincount(numbers[rows]).tolist() == [10, 8]
    assert np.array_equal(rows, np.unique(rows))
    assert len(pick_per_class(store, np.where(numbers == 1, -1, 0), None)) == 22


def test_reference_takes_other_parts_only_where_needed_and_says_so():
    stores = {
        "": _store(["ct"] * 9 + ["mri"] * 2, pixels="test"),
        "val": _store(["ct"] * 9 + ["mri"] * 3, pixels="val"),
        "train": _store(["mri"] * 9, pixels="train"),
    }
    ct, mri = choose_reference(stores, ("ct", "mri"), 4)
    assert len(ct.images) == len(mri.images) == 4
    assert {image.part for image in ct.images} == {""}
    assert ct.flags == mri.flags == ()
    (wider,) = choose_reference(stores, ("mri",), 10)
    assert len(wider.images) == 10
    assert wider.flags == (CONTAINS_TRAINING,)
    learnt = {image.row for image in wider.images if image.part == "train"}
    assert sum(wider.held_out) == 5, "every image that is no training image"
    assert len(learnt) == 5
    assert learnt.isdisjoint(wider.others)
    assert learnt | set(wider.others) == set(range(9))
    assert set(mri.others) < set(range(9)), "of its own class"
    assert len(mri.others) == 4
    assert ct.others == ()
    assert choose_reference(stores, ("ct", "mri"), 4) == [ct, mri]


def test_one_missing_image_puts_one_training_image_in_its_place():
    stores = {"": _store(["ct"] * 49), "train": _store(["ct"] * 700, pixels="train")}
    (reference,) = choose_reference(stores, ("ct",), 50)
    assert sum(reference.held_out) == 49
    assert [image.part for image in reference.images].count("train") == 1


def test_pixels_of_the_training_part_are_not_held_out_wherever_they_lie():
    scored, train = _store(["ct"] * 8), _store(["ct"] * 12, pixels="train")
    for place in range(5):
        scored.rows[place].sha256 = f"train-{place}"
    stores = {"": scored, "train": train}
    (enough,) = choose_reference(stores, ("ct",), 3)
    assert {(image.part, image.row) for image in enough.images} == {("", 5), ("", 6), ("", 7)}
    assert enough.flags == ()
    (wider,) = choose_reference(stores, ("ct",), 10)
    assert wider.flags == (CONTAINS_TRAINING,)
    assert sum(wider.held_out) == sum(image.part == "" for image in wider.images) == 3
    assert scored_training_images(stores) == 5


def test_real_images_beside_the_reference_share_no_pixels_with_it():
    train = _store(["ct"] * 6, pixels="train")
    for row in train.rows:
        row.sha256 = "all of them are one image"
    (reference,) = choose_reference({"": _store([]), "train": train}, ("ct",), 3)
    assert reference.others == ()


def _table(root, splits):
    lines = ["path,modality,split"]
    for number, split in enumerate(splits):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(root / f"{number}.png")
        lines.append(f"{number}.png,ct,{split}")
    (root / "set.csv").write_text("\n".join(lines), encoding="utf-8")
    return root / "set.csv"


@pytest.mark.parametrize("part", ["", "@train", "@training"])
def test_scoring_the_images_that_are_learnt_is_refused(tmp_path, part):
    table = _table(tmp_path, ["training" if part == "@training" else "train"] * 3 + ["test"])
    dataset = load_dataset(f"manifest{part}:{table}")
    with pytest.raises(UsageError, match=r"would be scored, and synthesis learns on train.*@test"):
        TASK.parts(dataset, {}, None)
    assert "train" in TASK.parts(load_dataset(f"manifest@test:{table}"), {}, None)


def _parts(root, splits):
    table = _table(root, splits)
    return {
        scored: set(TASK.parts(load_dataset(f"manifest@{scored}:{table}"), {}, None))
        for scored in ("test", "val")
    }


def test_val_is_read_where_it_is_not_scored_itself(tmp_path):
    found = _parts(tmp_path, ["train"] * 3 + ["val"] * 2 + ["test"])
    assert found == {"test": {"train", "val"}, "val": {"train"}}


def test_val_is_read_for_a_class_that_the_scored_part_has_not(tmp_path):
    lines = ["path,modality,split"]
    counts = {("ct", "test"): 100, ("ct", "train"): 9, ("mri", "train"): 9, ("mri", "val"): 9}
    for (modality, split), count in counts.items():
        lines += [f"{modality}-{split}-{n}.png,{modality},{split}" for n in range(count)]
    for line in lines[1:]:
        Image.new("RGB", (9, 9)).save(tmp_path / line.partition(",")[0])
    (tmp_path / "set.csv").write_text("\n".join(lines), encoding="utf-8")
    dataset = load_dataset(f"manifest@test:{tmp_path / 'set.csv'}")
    assert set(TASK.parts(dataset, {}, None)) == {"train", "val"}


def test_a_union_with_one_whole_table_is_refused(tmp_path):
    union = load_dataset(f"union:medsynth@test,manifest:{_table(tmp_path, ['train', 'test'])}")
    with pytest.raises(UsageError, match="its test, all images would be scored"):
        TASK.parts(union, {}, None)


def test_every_image_comes_once_per_epoch_and_batches_follow_from_the_step():
    indices = np.arange(10 * 2 * 4).reshape(10, 2, 4) % 5
    terms = {"dim": 16, "n_layer": 1, "n_head": 2, "vocab_size": 10, "num_codebooks": 2}
    network = new_generator(read_config({**terms, "block_size": 4, "num_classes": 10}), seed=0)
    recipe = GeneratorRecipe(network, indices, np.arange(10), batch_size=5, seed=3)
    stream = recipe.batches(0)
    batches = [next(stream) for _ in range(6)]
    for epoch in range(3):
        both = [*batches[2 * epoch].classes.tolist(), *batches[2 * epoch + 1].classes.tolist()]
        assert sorted(both) == list(range(10))
    resumed = next(recipe.batches(4))
    assert resumed.classes.tolist() == batches[4].classes.tolist()
    for row, number in enumerate(resumed.classes.tolist()):
        assert np.array_equal(resumed.tokens[row].numpy(), indices[number])


def _noisy_recipe(**terms):
    """Images of 64 positions and two codebooks, whose codes tell image and position apart."""
    number = np.arange(12 * 64).reshape(12, 1, 64)
    indices = np.concatenate([number, number + 1], axis=1).astype(np.uint16)
    sizes = {"vocab_size": 2048, "num_codebooks": 2, "block_size": 64, "num_classes": 12}
    network = new_generator(read_config({"dim": 16, "n_layer": 1, "n_head": 2, **sizes}), seed=0)
    seen = []
    network.loss = lambda *given, context: seen.append((*given, context)) or torch.zeros(())
    return GeneratorRecipe(network, indices, np.arange(12), batch_size=6, **terms), seen


def test_context_noise_puts_whole_places_of_training_images_where_codes_were():
    recipe, seen = _noisy_recipe(context_noise=0.25)
    generator = torch.Generator().manual_seed(0)
    for step in range(40):
        recipe.losses(step, recipe.batch(range(6)), generator)
    tokens, context = (torch.stack([call[place] for call in seen]) for place in (1, 3))
    assert torch.equal(context[:, :, 1], context[:, :, 0] + 1), "codes of a place stay together"
    replaced = (context != tokens).any(2).double().mean(-1)
    assert replaced.mean() == pytest.approx(0.25, abs=0.03)
    assert replaced.min() < 0.05
    assert 0.4 < replaced.max() < 0.7, "every image has a share of its own, up to twice the mean"
    assert context.unique().numel() > 12 * 64 * 0.98, "of every image and position"


def test_processes_draw_the_noise_that_one_would(monkeypatch):
    whole, parts = [], []
    for shares, found in (((slice(0, 6),), whole), ((slice(0, 3), slice(3, 6)), parts)):
        for rows in shares:
            recipe, seen = _noisy_recipe(context_noise=0.3, positions=8)
            monkeypatch.setattr(parallel, "own_rows", lambda total, rows=rows: rows)
            batch = recipe.batch(range(rows.start, rows.stop))
            recipe.losses(0, batch, torch.Generator().manual_seed(5))
            found.extend(seen)
    for place, value in enumerate(whole[0]):
        assert torch.equal(value, torch.cat([call[place] for call in parts])), place


def test_without_noise_the_network_is_given_the_codes_themselves():
    recipe, seen = _noisy_recipe()
    recipe.losses(0, recipe.batch(range(6)), torch.Generator())
    assert seen[0][3] is None
