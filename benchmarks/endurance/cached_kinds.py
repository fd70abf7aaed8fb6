"""Each kind of kept file: how it is made and read, as medbench does it."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

import medbench
from medbench.harness.array_cache import Wanted, kept_arrays
from medbench.harness.audit.memory import entry_key, open_memory
from medbench.harness.audit.signature import FIELD_SIDE, Signature
from medbench.harness.audit.sources import Entry, Place
from medbench.harness.datasets import npz_member
from medbench.harness.datasets.dataset import Dataset
from medbench.harness.datasets.store import ImageStore, ingest
from medbench.harness.datasets.tar_index import tar_index
from medbench.harness.entries import PackagedFile
from medbench.harness.file_hashes import file_sha256
from medbench.harness.locate import locate
from medbench.harness.locations import cache_root
from medbench.harness.registered import Registration, register_variant, registered_variants
from medbench.harness.registry import load_dataset
from medbench.harness.tokenizer_registry import tokenizer_entries
from medbench.harness.training.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    load_latest,
    save_checkpoint,
)
from medbench.harness.training.pool import PoolSpec, open_pool
from medbench.tasks.classifier import trained_classifier
from medbench.tasks.classifier_recipe import ClassifierRecipe
from medbench.tasks.recon.features import original_features
from medbench.tasks.recon.sanity import bound_scores
from medbench.tasks.synthesis.generator_facts import load_kept, read_facts
from medbench.tasks.synthesis.presets import find_preset
from medbench.tasks.synthesis.tokenizer_key import TokenizerKey
from medbench.tasks.synthesis.trained import TrainingData, trained_generator


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of kept file.

    Attributes:
        name: short.
        what: in words.
        read: (folder of a trial, folder of the data) -> a hash of all that a user gets; makes
            what is not there.
        within: a folder (or the file itself) in which the meant files lie.
        refused: a user's own files, which cannot be made again: a clear error is right.
    """

    name: str
    what: str
    read: Callable[[Path, Path], str]
    within: str
    refused: bool = False


def _digest(*values: object) -> str:
    found = hashlib.sha256()
    for value in values:
        array = isinstance(value, np.ndarray)
        found.update(np.ascontiguousarray(value).tobytes() if array else repr(value).encode())
    return found.hexdigest()


def _dataset(root: Path, data: Path) -> Dataset:
    """Four images with masks, patients and labels."""
    del root
    table = data / "masked.csv"
    if not table.exists():
        lines = ["path,modality,label,patient,mask"]
        for number, path in enumerate(sorted((data / "files" / "ct").iterdir())[:4]):
            mask = data / f"mask-{number}.png"
            Image.fromarray(np.eye(280, dtype=np.uint8) * 255).save(mask)
            lines.append(f"{path},ct,{number % 2},p{number},{mask}")
        table.write_text("\n".join(lines) + "\n")
    return load_dataset(f"manifest:{table}")


def _store(root: Path, data: Path) -> ImageStore:
    return ingest(_dataset(root, data), side=128)


def _images(root: Path, data: Path) -> str:
    store = _store(root, data)
    assert store.masks is not None
    read = store.read(0, len(store))
    return _digest(read, np.array(store.masks), list(store.rows), store.failures, store.fingerprint)


def _npz(root: Path, data: Path) -> str:
    del root
    npz_member._opened.clear()  # a new process has none
    return _digest(np.array(npz_member.open_member(data / "mri.npz", "val_images")))


def _tar(root: Path, data: Path) -> str:
    del root
    path = data / "shard.tar"
    if not path.exists():
        with tarfile.open(path, "w") as archive:
            for each in sorted((data / "files" / "ct").iterdir())[:6]:
                archive.add(each, each.name)
    index = tar_index(path)
    return _digest(index.members, index.refused)


class _Extractor:
    """Means of the corners, as a feature space that costs nothing."""

    definition: ClassVar = {"id": "corners"}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return images[:, :8, :8].reshape(len(images), -1).astype(np.float32)


def _features(root: Path, data: Path) -> str:
    extractor: object = _Extractor()
    store = _store(root, data)
    return _digest(np.array(original_features(store, extractor, device="cpu")))  # type: ignore[arg-type]


def _bounds(root: Path, data: Path) -> str:
    dataset = _dataset(root, data)
    return _digest(
        *sorted((k, v.tolist()) for k, v in bound_scores(ingest(dataset), grey=False).items())
    )


def _arrays(root: Path, data: Path) -> str:
    del root, data
    wanted = Wanted(
        place=cache_root() / "probe-features",
        what="rows",
        facts={"rows": {"version": 1}},
        count=70,
        compute=lambda start, stop, _: {
            "rows": np.arange(start * 8, stop * 8, dtype=np.float32).reshape(-1, 8)
        },
        alike=None,
    )
    return _digest(np.array(kept_arrays(wanted)["rows"].rows))


def _weights(network: torch.nn.Module) -> str:
    return _digest(
        *[(name, value.numpy().tobytes()) for name, value in network.state_dict().items()]
    )


def _classified(root: Path, data: Path) -> str:
    store = _store(root, data)
    recipe = ClassifierRecipe(1, batch=2, side=32)
    found = trained_classifier(store, np.array([0, 1, 0, 1]), recipe, device="cpu")
    return _weights(found.network)


def _generator(root: Path, data: Path) -> str:
    del root, data
    key = TokenizerKey("toy@1", None, None, 1, 16, 4, "raster")
    smoke = find_preset("smoke")
    at_once = dataclasses.replace(smoke.optimiser, warmup_steps=0)
    preset = dataclasses.replace(smoke, steps=1, optimiser=at_once)
    codes = np.arange(32, dtype=np.uint8).reshape(8, 1, 4) % 16
    found = TrainingData(codes, np.arange(8) % 2, ("a", "b"), "none")
    folder = trained_generator(key, preset, found, device="cpu")
    facts = read_facts(folder, {})
    network = load_kept(folder, facts, key, device="cpu")
    return _digest(facts.config, facts.classes, _weights(network))


def _pool(root: Path, data: Path) -> str:
    del root, data
    pool = open_pool(PoolSpec("medsynth", 4, size=32), cache_root() / "pools")
    return _digest(np.array(pool.images), pool.rows)


def _hashes(root: Path, data: Path) -> str:
    del root
    return _digest([file_sha256(path) for path in sorted((data / "files").rglob("*.png"))[:40]])


def _signatures(root: Path, data: Path) -> str:
    """Forty that are remembered, each a function of its number."""
    del root
    dataset = _dataset(Path(), data)
    found = []
    with open_memory() as memory:
        for number in range(40):
            item = dataclasses.replace(dataset.items()[0], id=str(number))
            key = entry_key(Entry(Place("set", "test"), item))
            known = memory.recall(key)
            if known is None:
                field = np.full(FIELD_SIDE**2, number, np.int8)
                known = Signature(f"{number:064x}", number, number, field, number / 7, 3, 9, 9)
                memory.remember([(key, known)])
            found.append([str(value) for value in dataclasses.astuple(known)])
    return _digest(found)


def _checkpoint(root: Path, data: Path) -> str:
    """Begun again where it is damaged."""
    del root, data
    folder = cache_root() / "run" / "checkpoints"
    try:
        kept = load_latest(folder)
    except DamagedCheckpoint:
        shutil.rmtree(folder)
        kept = None
    if kept is None:
        tensors = {"w": torch.arange(64.0)}
        state = {"engine": {"rate": 0.5, "moments": torch.ones(64)}, "seconds": 3.0}
        save_checkpoint(folder, Checkpoint(7, tensors, tensors, state, {"steps": 9}))
        kept = load_latest(folder)
        assert kept is not None
    moments = kept.state["engine"]["moments"].numpy()
    rest = (kept.state["engine"]["rate"], kept.state["seconds"])
    assert kept.average is not None
    return _digest(
        kept.step, kept.model["w"].numpy(), kept.average["w"].numpy(), moments, rest, kept.config
    )


def _registered(root: Path, data: Path) -> str:
    del root, data
    entry = tokenizer_entries()["meditok"]
    if "mine" not in registered_variants("meditok"):
        tiny = entry.variants["tiny"]
        assert isinstance(tiny.weights, PackagedFile)
        given = Registration(tiny.config or {}, tiny.weights.path, tiny.bits_per_image, {})
        register_variant(entry, "mine", given)
    mine = registered_variants("meditok")["mine"]
    assert isinstance(mine.weights, PackagedFile)
    path = locate(mine.weights, tokenizer="meditok@mine")
    return _digest(mine.config, mine.bits_per_image, path.read_bytes())


def _packaged(root: Path, data: Path) -> str:
    """As installed: a copy, which the catalogue pins by its hash."""
    del data
    tiny = tokenizer_entries()["meditok"].variants["tiny"].weights
    assert isinstance(tiny, PackagedFile)
    path = root / "package" / tiny.path.name
    if not path.exists():
        path.parent.mkdir(parents=True)
        shutil.copyfile(tiny.path, path)
    found = locate(dataclasses.replace(tiny, path=path), tokenizer="meditok@tiny")
    return _digest(found.read_bytes())


def _exported(root: Path, data: Path) -> str:
    """Weights that a training left, given with `--weights`."""
    from medbench.harness.training.checkpoint import export_weights
    from medbench.harness.weights import read_state_dict

    del data
    path = root / "run" / "weights.safetensors"
    if not path.exists():
        export_weights(path, {"w": torch.arange(256.0)})
    return _digest(read_state_dict(path)["w"].numpy())


KINDS = [
    Kind("images", "ingested images, masks and rows", _images, "images"),
    Kind("npz", "unpacked arrays", _npz, "npz"),
    Kind("tar-index", "the index of a shard", _tar, "tar-index"),
    Kind("features", "reference statistics: features of originals", _features, "features"),
    Kind("bounds", "scores of the bounds", _bounds, "bounds"),
    Kind("arrays", "features for probes, image tokens and codes", _arrays, "probe-features"),
    Kind("classifiers", "the small classifier of a data set", _classified, "classifiers"),
    Kind("generators", "trained generators", _generator, "generators"),
    Kind("pools", "pools of training images", _pool, "pools"),
    Kind("file-hashes", "remembered hashes", _hashes, "file-hashes.sqlite"),
    Kind("signatures", "remembered signatures", _signatures, "audit-signatures.sqlite"),
    Kind("checkpoints", "a training's checkpoint", _checkpoint, "run"),
    Kind("registered", "registered weights", _registered, "registered", refused=True),
    Kind("packaged", "packaged weights", _packaged, "package", refused=True),
    Kind("exported", "weights of a training", _exported, "run", refused=True),
]
assert medbench.__version__, "the installed package is what is looked at"
