"""The MedMNIST 2-D sets: `breastmnist@28` (its test split), `breastmnist@28-train`, `@28-val`.

Read from the owners' npz files (Yang et al., Scientific Data 10:41, 2023), which lie in the data
root or where the `medmnist` package puts them. A file must have the md5 that the owners print
and their split sizes, unless modified files are allowed; then the card says so.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import MissingPrerequisite, UsageError
from .card import Card, Download, packaged_card
from .medmnist_sets import SIZES
from .npz import SPLITS, NpzDataset, SplitFacts, read_layout
from .official import check_official, count_differences


@lru_cache(maxsize=1)
def official_table() -> dict[str, Any]:
    """The package's INFO, read without importing the package (which would load torch).

    Raises:
        MissingPrerequisite: `medmnist` is not installed.
    """
    from importlib.util import find_spec, module_from_spec, spec_from_file_location

    package = find_spec("medmnist")
    if package is None or package.origin is None:
        message = "MedMNIST needs the package that lists its labels: pip install medmnist"
        raise MissingPrerequisite(message)
    spec = spec_from_file_location("_medmnist_info", Path(package.origin).with_name("info.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.INFO


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> NpzDataset:
    """Make the dataset of `NAME@SIZE` or `NAME@SIZE-SPLIT`.

    Raises:
        MissingPrerequisite: the file is not on this machine; the message says where it was
            looked for and where it is distributed.
        UsageError: an unknown size or split, a damaged file, or one that is not the official
            one while such files are not allowed.
    """
    name = re.split("[@:]", reference)[0]
    size, split = _size_and_split(reference, variant)
    if argument:
        message = f"{reference}: takes no path; files are found in the data root"
        raise UsageError(message)
    card = packaged_card(name)
    download = _download(card, size)
    path = _find(reference, download, data_root)
    layout = read_layout(path)
    found = {part: facts.rows for part, facts in layout.items()}
    counts = count_differences(found, card.splits, what="rows")
    marks = check_official(path, md5=download.md5, differences=counts)
    if split not in layout:
        message = f"{reference}: {path} has no {split} split; found: {', '.join(layout)}"
        raise UsageError(message)
    info = official_table()[name]
    names = tuple(info["label"][str(i)] for i in range(len(info["label"])))
    multi_label = info["task"].startswith("multi-label")
    expected = SplitFacts(
        rows=layout[split].rows,
        label_width=len(names) if multi_label else 1,
        image_shape=(size, size, 3) if info["n_channels"] == 3 else (size, size),
    )
    _check_arrays(path, split, layout[split], expected)
    identifier = f"{name}@{size}" + ("" if split == "test" else f"-{split}")
    return NpzDataset(
        id=identifier,
        card=_sized_card(card, identifier, size, marks),
        split=split,
        path=path,
        label_names=names,
        multi_label=multi_label,
    )


def _size_and_split(reference: str, variant: str) -> tuple[int, str]:
    size, _, split = variant.partition("-")
    if size not in {str(s) for s in SIZES} or (split or "test") not in SPLITS:
        message = (
            f"{reference}: say which size, and which split unless it is test: "
            f"NAME@SIZE or NAME@SIZE-SPLIT with sizes {', '.join(map(str, SIZES))} "
            f"and splits {', '.join(SPLITS)}"
        )
        raise UsageError(message)
    return int(size), split or "test"


def _download(card: Card, size: int) -> Download:
    """The owners' file of one size: the first is the 28-pixel one, which bears no size."""
    return card.downloads[SIZES.index(size)]


def _find(reference: str, download: Download, data_root: Path | None) -> Path:
    roots = [data_root / "medmnist", data_root] if data_root is not None else []
    places = [root / download.filename for root in (*roots, Path.home() / ".medmnist")]
    for place in places:
        if place.is_file():
            return place.resolve()
    wanted = reference.partition("-")[0]
    message = (
        f"{reference}: {download.filename} is not on this machine. Looked at: "
        f"{', '.join(map(str, places))}. Get it with medbench data fetch {wanted}, or download "
        f"{download.url} and place it at one of them"
        + ("" if data_root else " (or set MEDBENCH_DATA)")
    )
    raise MissingPrerequisite(message)


def _check_arrays(path: Path, split: str, found: SplitFacts, expected: SplitFacts) -> None:
    """Other pixels or other classes are another set, allowed or not."""
    if found != expected:
        message = (
            f"{path}: {split} has images {found.image_shape} with {found.label_width} label(s) "
            f"each; the official arrays have {expected.image_shape} with {expected.label_width}. "
            "Read it as npz@MODALITY:FILE if that is meant."
        )
        raise UsageError(message)


def _sized_card(card: Card, identifier: str, size: int, marks: list[str]) -> Card:
    smooth = f"Images are {size} pixels a side and enlarged to 256, so they are smooth."
    return card.model_copy(
        update={
            "id": identifier,
            "title": f"{card.title}, {size} pixels",
            "native_size": f"{size}x{size}",
            "downloads": [_download(card, size)],
            "known_problems": [*marks, *card.known_problems, smooth],
        }
    )
