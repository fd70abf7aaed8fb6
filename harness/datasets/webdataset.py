"""`wds:SHARDS`, `wds@MODALITY:SHARDS`: images in tar files, as the WebDataset library names them.

Files whose names agree up to the first dot of the last part are one sample: an image, and beside
it `.json` (fields of `rows`: modality, label, patient, caption), `.txt` (caption) and `.cls`
(label). SHARDS is a tar file, a folder of them, or a pattern as `train-{000..003}.tar`.

Images are read where they lie in the shards. In memory stays one entry per sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..documents import parse_json
from ..errors import MissingPrerequisite, UsageError
from ..files import hash_value
from .card import Card
from .dataset import Item, pick_per_group
from .folder import check_modalities, find_path
from .images import LARGEST_FILE_BYTES, SUFFIXES, Decoded, Window, decode_bytes
from .rows import UNKNOWN, modality_of, text_field, window_of
from .tar_index import Member, TarIndex, read_member, tar_index

_SIDE_SUFFIXES = frozenset({".json", ".txt", ".cls"})
_LARGEST_SIDE_BYTES = 1 << 20
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_SHARDS = 100_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of a shard."""

    id: str
    """Shard's name, a slash, and the key."""
    group: str
    shard: Path
    image: Member | None
    label: str | None = None
    patient: str | None = None
    caption: str | None = None
    window: Window | None = None
    problem: str | None = None
    """Why it cannot be used; None where it can."""

    def to_json(self) -> list[Any]:
        """All fields as plain values."""
        image, window = self.image, self.window
        return [
            *(self.id, self.group, str(self.shard)),
            [image.name, image.offset, image.size] if image else None,
            *(self.label, self.patient, self.caption),
            [window.low, window.high, window.bias] if window else None,
            self.problem,
        ]

    @staticmethod
    def from_json(values: Sequence[Any]) -> Sample:
        """What `to_json` gave."""
        name, group, shard, image, label, patient, caption, window, problem = values
        return Sample(
            *(name, group, Path(shard), Member(*image) if image else None),
            *(label, patient, caption, Window(*window) if window else None, problem),
        )

    def item(self) -> Item:
        """The dataset's item."""
        return Item(
            id=self.id,
            group=self.group,
            load=partial(_load, self),
            content_key=partial(_content_key, self),
            label=self.label,
            patient=self.patient,
            caption=self.caption,
        )


@dataclass(frozen=True, slots=True)
class WebDataset:
    """The samples of all shards."""

    id: str
    samples: tuple[Sample, ...]
    card: Card
    split: str = "all"

    def items(self, limit: int | None = None) -> Sequence[Item]:
        """Samples in the order of the shards; refused members fail on loading."""
        return pick_per_group([sample.item() for sample in self.samples], limit)


def _load(sample: Sample) -> Decoded:
    if sample.problem is not None or sample.image is None:
        raise UsageError(sample.problem or f"{sample.id}: no image")
    name = f"{sample.shard}!{sample.image.name}"
    if sample.image.size > LARGEST_FILE_BYTES:
        message = f"{name}: {sample.image.size:,} bytes; at most {LARGEST_FILE_BYTES:,} are read"
        raise UsageError(message)
    return decode_bytes(read_member(sample.shard, sample.image), name=name, window=sample.window)


def _content_key(sample: Sample) -> list[Any]:
    if sample.problem is not None or sample.image is None:
        return [sample.problem]
    stat = sample.shard.stat()
    shown = sample.window
    return [
        hash_value([str(sample.shard), stat.st_size, stat.st_mtime_ns]),
        [sample.image.offset, sample.image.size],
        [shown.low, shown.high, shown.bias] if shown else None,
    ]


def build(
    reference: str, *, argument: str, variant: str = "", data_root: Path | None = None
) -> WebDataset:
    """Make the dataset of some shards; the variant is the modality of samples that state none.

    Raises:
        MissingPrerequisite: a shard is not there.
        UsageError: compressed or no tar files, a wrong modality, or no sample that can be used.
    """
    shards = find_shards(argument, data_root)
    samples = list(read_samples(shards, variant, reference=reference))
    good = [each for each in samples if each.problem is None]
    if not good:
        first = "; ".join(str(each.problem) for each in samples[:3]) or "no images in the shards"
        message = f"{reference}: no sample can be used: {first}"
        raise UsageError(message)
    bad = [str(each.problem) for each in samples if each.problem is not None]
    name = f"wds{'@' + variant if variant else ''}:{Path(argument).name}"
    card = Card.model_validate(
        {
            "id": name,
            "title": f"Images in {len(shards)} WebDataset shards",
            "source": "tar files on this machine",
            "licence": "unknown",
            "modalities": sorted({each.group for each in good}),
            "splits": {"all": len(samples)},
            "layout": "verified (all shards indexed)",
            "patient_key": "patient" if any(each.patient for each in good) else None,
            "how_to_get": "the user's own files",
            "known_problems": [f"{len(bad)} members cannot be used, first: {bad[0]}"]
            if bad
            else [],
        }
    )
    return WebDataset(name, tuple(samples), card)


def read_samples(shards: Sequence[Path], modality: str, *, reference: str) -> Iterator[Sample]:
    """The samples of shards, one after the other, and their refused members as such that fail.

    Args:
        shards: tar files.
        modality: of samples that state none; may be empty.
        reference: for messages.

    Raises:
        UsageError: a compressed or no tar file, or a wrong modality.
    """
    if modality:
        check_modalities([modality], where=reference)
    for shard in shards:
        yield from _samples(tar_index(shard), modality)


def find_shards(argument: str, data_root: Path | None) -> list[Path]:
    """Tar files of a path, a folder or a pattern with ranges in braces, in order.

    Raises:
        MissingPrerequisite: one is not there.
        UsageError: a folder without tar files, or a range that is empty or too long.
    """
    paths = [find_path(each, data_root, what="wds:SHARDS") for each in expand_ranges(argument)]
    shards: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.tar")) if path.is_dir() else [path]
        if not found:
            message = f"wds:SHARDS: no .tar files in {path}"
            raise MissingPrerequisite(message)
        shards += found
    names = [shard.name for shard in shards]
    if len(set(names)) < len(names):
        message = f"wds:SHARDS: two shards are named {max(names, key=names.count)!r}"
        raise UsageError(message)
    return shards


def expand_ranges(pattern: str) -> list[str]:
    """`a-{08..10}.tar` -> `a-08.tar`, `a-09.tar`, `a-10.tar`; zeros in front are kept."""
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    low, high = found.groups()
    if not int(low) <= int(high) < int(low) + _MOST_SHARDS:
        message = f"wds:SHARDS: the range {found.group()} is empty or too long"
        raise UsageError(message)
    head = pattern[: found.start()]
    tails = expand_ranges(pattern[found.end() :])
    numbers = [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    return [f"{head}{number}{tail}" for number in numbers for tail in tails]


def _samples(index: TarIndex, default: str) -> list[Sample]:
    """Samples of one shard, and its refused members as samples that fail."""
    grouped: dict[str, dict[str, Member]] = {}
    for member in index.members:
        folder, slash, base = member.name.rpartition("/")
        stem, dot, extension = base.partition(".")
        if stem and dot:
            parts = grouped.setdefault(f"{folder}{slash}{stem}", {})
            parts[f".{extension.lower()}"] = member
    shard = index.path
    samples = [
        _sample(shard, key, parts, default)
        for key, parts in grouped.items()
        if any(_is_image(extension) for extension in parts) or ".json" in parts
    ]
    refused = [
        Sample(f"{shard.name}/refused-{number}", UNKNOWN, shard, None, problem=reason)
        for number, reason in enumerate(index.refused, 1)
    ]
    return samples + refused


def _is_image(extension: str) -> bool:
    return f".{extension.rpartition('.')[2]}" in SUFFIXES


def _sample(shard: Path, key: str, parts: dict[str, Member], default: str) -> Sample:
    images = [member for extension, member in parts.items() if _is_image(extension)]
    sample = Sample(f"{shard.name}/{key}", default or UNKNOWN, shard, images[0] if images else None)
    try:
        if len(images) != 1:
            names = ", ".join(image.name for image in images) or "none"
            message = f"one image per sample is read, found {names}"
            raise ValueError(message)
        fields = _fields(shard, parts)
        word = text_field(fields, "modality")
        if not (word or default):
            message = "no modality in its .json; give one: wds@MODALITY:SHARDS"
            raise ValueError(message)
        group = modality_of(word) if word else default
        return replace(
            sample,
            group=group,
            label=text_field(fields, "label"),
            patient=text_field(fields, "patient"),
            caption=text_field(fields, "caption"),
            window=window_of(fields, group),
        )
    except (ValueError, UsageError) as error:
        return replace(sample, group=UNKNOWN, problem=f"{shard}!{key}: {error}")


def _fields(shard: Path, parts: dict[str, Member]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for suffix in _SIDE_SUFFIXES & parts.keys():
        member = parts[suffix]
        if member.size > _LARGEST_SIDE_BYTES:
            message = f"{member.name} has {member.size} bytes; at most {_LARGEST_SIDE_BYTES}"
            raise ValueError(message)
        try:
            texts[suffix] = read_member(shard, member).decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            message = f"{member.name} is not UTF-8 text"
            raise ValueError(message) from error
    if ".json" in texts:
        try:
            fields = parse_json(texts[".json"])
        except ValueError as error:
            message = f"its .json is not valid JSON ({error})"
            raise ValueError(message) from error
        if not isinstance(fields, dict):
            message = f"its .json holds {type(fields).__name__}, expected an object"
            raise ValueError(message)
    named = {"caption": texts.get(".txt"), "label": texts.get(".cls")}
    return fields | {name: text for name, text in named.items() if text and name not in fields}
