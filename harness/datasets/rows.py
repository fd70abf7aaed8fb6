"""One row of a table of image files, whatever the table's format: manifest or JSONL.

Fields: `path` (or `identifier`; relative to the table or absolute) and `modality` are required;
`id`, `label`, `patient`, `caption`, `mask` (path of a mask image: non-zero is lesion), `split`,
`window_low`, `window_high` and `bias` (or `ct_bias`) are optional; others are ignored.

A row that cannot be used stays as an item that fails with its reason, so the others are not lost.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError
from ..file_hashes import file_sha256
from ..vocabulary import MODALITIES
from .dataset import Item
from .images import Decoded, Window, decode_file

PATH_FIELDS = ("path", "identifier")
OPTIONAL = (
    *("id", "label", "patient", "caption", "mask", "split"),
    *("window_low", "window_high", "bias", "ct_bias"),
)
HU_LOW, HU_HIGH = -1000.0, 1000.0
"""Shown of a CT image whose row gives a bias and no window, as MedITok's evaluation does."""

UNKNOWN = "unknown"
"""Group of rows whose modality cannot be told; all of them fail on loading."""

_WORDS = {
    **{name: name for name in MODALITIES},
    "computed tomography": "ct",
    "mr": "mri",
    "magnetic resonance": "mri",
    "magnetic resonance imaging": "mri",
    "x ray": "xray",
    "histopathology": "pathology",
    "fundus photography": "fundus",
}
"""Words for modalities, lower case, with blanks for hyphens and underscores."""


@lru_cache(maxsize=256)
def modality_of(word: str) -> str:
    """The vocabulary's name of a modality as tables write it (`x-ray`, `histopathology`).

    Raises:
        ValueError: none; names the nearest.
    """
    plain = " ".join(word.lower().replace("-", " ").replace("_", " ").split())
    if plain in _WORDS:
        return _WORDS[plain]
    near = difflib.get_close_matches(plain, MODALITIES, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    message = f"{word!r} is not a modality.{hint} Modalities: {', '.join(MODALITIES)}"
    raise ValueError(message)


@dataclass(frozen=True, slots=True)
class RawRow:
    """What a format's reader found at one place of the table."""

    number: int
    """Row or line as an editor shows it."""
    fields: Mapping[str, Any] | None
    """None: not readable."""
    problem: str = ""
    """Why not."""


@dataclass(frozen=True, slots=True)
class Row:
    """A checked row."""

    id: str
    group: str
    path: Path
    label: str | None = None
    patient: str | None = None
    caption: str | None = None
    split: str | None = None
    mask: Path | None = None
    window: Window | None = None
    problem: str | None = None
    """Why it cannot be used, with table and row; None where it can."""

    def to_json(self) -> list[Any]:
        """All but the split, as plain values."""
        window = self.window
        return [
            *(self.id, self.group, str(self.path), self.label, self.patient, self.caption),
            str(self.mask) if self.mask else None,
            [window.low, window.high, window.bias] if window else None,
            self.problem,
        ]

    @staticmethod
    def from_json(values: Sequence[Any]) -> Row:
        """What `to_json` gave."""
        name, group, path, label, patient, caption, mask, window, problem = values
        return Row(
            *(name, group, Path(path), label, patient, caption),
            mask=Path(mask) if mask else None,
            window=Window(*window) if window else None,
            problem=problem,
        )

    def item(self) -> Item:
        """The dataset's item; it fails on loading where there is a problem."""
        if self.problem is not None:
            return Item(
                id=self.id,
                group=self.group,
                load=partial(_refuse, self.problem),
                content_key=partial(str, self.problem),
            )
        return Item(
            id=self.id,
            group=self.group,
            load=partial(decode_file, self.path, window=self.window),
            content_key=partial(_content_key, self.path, self.mask, self.window),
            label=self.label,
            patient=self.patient,
            load_mask=partial(_read_mask, self.mask) if self.mask else None,
            caption=self.caption,
        )


def check_rows(table: Path, raw: Iterable[RawRow], *, ct_bias: float = 0.0) -> Iterator[Row]:
    """All rows in order, checked one by one; a repeated id makes the later row unusable.

    Args:
        table: where they stand.
        raw: as read.
        ct_bias: of rows of CT that say nothing of one.
    """
    taken: set[str] = set()
    for each in raw:
        where = f"{table}: row {each.number}"
        try:
            row = _checked(table, each, ct_bias)
            if row.id in taken:
                message = f"{row.id!r} occurs more than once; ids (or paths) must differ"
                raise ValueError(message)
        except ValueError as error:
            given = (each.fields or {}).get("split")
            split = given if isinstance(given, str) and given else None
            name = f"row-{each.number}"
            row = Row(name, UNKNOWN, table, split=split, problem=f"{where}: {error}")
        taken.add(row.id)
        yield row


def _checked(table: Path, raw: RawRow, ct_bias: float) -> Row:
    if raw.fields is None:
        raise ValueError(raw.problem)
    fields = raw.fields
    given = text_field(fields, "path") or text_field(fields, "identifier")
    modality = text_field(fields, "modality")
    if given is None or modality is None:
        message = "path (or identifier) and modality must not be empty"
        raise ValueError(message)
    mask = text_field(fields, "mask")
    group = modality_of(modality)
    return Row(
        id=text_field(fields, "id") or given,
        group=group,
        path=_inside(table, "path", given),
        label=text_field(fields, "label"),
        patient=text_field(fields, "patient"),
        caption=text_field(fields, "caption"),
        split=text_field(fields, "split"),
        mask=_inside(table, "mask", mask) if mask else None,
        window=window_of(fields, group, ct_bias=ct_bias),
    )


def text_field(fields: Mapping[str, Any], name: str) -> str | None:
    """A field as text; None where it is absent, empty or NaN.

    Raises:
        ValueError: a list, an object, or a text with half of a surrogate pair.
    """
    value = fields.get(name)
    if isinstance(value, str) and value.isascii():
        return value or None  # nearly all, and tables are long
    if value is None or value != value or value == "":
        return None
    if isinstance(value, dict | list):
        message = f"{name} is {value!r}, expected a text or a number"
        raise ValueError(message)
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"{name} is {text!r}, which is no Unicode text"
        raise ValueError(message) from error
    return text


def _inside(table: Path, field: str, given: str) -> Path:
    """The file meant; refuses a relative path that climbs out of the table's folder.

    Symbolic links are followed wherever they lead, as absolute paths are: only somebody who can
    write to the disk makes one, and data folders are often put together from links. (Links in a
    tar file come with it from elsewhere, and are refused.)
    """
    climbs = os.pardir in given and Path(os.path.normpath(given)).parts[:1] == (os.pardir,)
    if "\0" in given or (climbs and not Path(given).is_absolute()):
        message = (
            f"{field} {given!r} leaves the table's folder. "
            "Move the file below it, or give the absolute path."
        )
        raise ValueError(message)
    return table.parent / given


def window_of(fields: Mapping[str, Any], group: str, *, ct_bias: float = 0.0) -> Window | None:
    """The window that a row's fields state; of CT with a bias alone -1000..1000 HU.

    Args:
        fields: of the row.
        group: its modality.
        ct_bias: of CT whose fields state none.

    Raises:
        ValueError: not two finite numbers in order.
    """
    low, high = text_field(fields, "window_low"), text_field(fields, "window_high")
    bias = text_field(fields, "bias")
    if bias is None and group == "ct":
        bias = text_field(fields, "ct_bias") or str(ct_bias)
    if low is None and high is None:
        if bias is None or bias.strip("0.") == "" or group != "ct":
            return None
        low, high = str(HU_LOW), str(HU_HIGH)
    try:
        window = Window(float(low or "absent"), float(high or "absent"), float(bias or 0))
    except ValueError as error:
        message = "window_low and window_high must both be numbers, and bias one"
        raise ValueError(message) from error
    if not (np.isfinite([window.low, window.high, window.bias]).all() and window.low < window.high):
        message = f"window_low {low} is not below window_high {high}"
        raise ValueError(message)
    return window


def _refuse(problem: str) -> Decoded:
    raise UsageError(problem)


def _content_key(path: Path, mask: Path | None, window: Window | None) -> list[Any]:
    shown = [window.low, window.high, window.bias] if window else None
    return [hash_or_absence(path), hash_or_absence(mask) if mask else None, shown]


def hash_or_absence(path: Path) -> str:
    """SHA-256 of a file; `absent` where it cannot be read, so that only its own item fails."""
    try:
        return file_sha256(path)
    except UsageError:
        return "absent"


def _read_mask(path: Path) -> np.ndarray:
    return decode_file(path).rgb.max(axis=2) > 0
