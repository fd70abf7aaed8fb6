"""The numbers that decide, each with its source: a closed schema over `thresholds.yaml`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..documents import load_yaml
from ..errors import UsageError

FILE = Path(__file__).parent / "thresholds.yaml"

T = TypeVar("T")
_Count = Annotated[int, Field(ge=1)]
_Fraction = Annotated[float, Field(ge=0, le=1)]
_Percentile = Annotated[float, Field(ge=0, le=100)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Threshold(_Closed, Generic[T]):
    """A value and where it comes from."""

    value: T
    source: str
    """`paper` (as printed) or `choice: reason`."""

    @field_validator("source")
    @classmethod
    def _says_where_from(cls, value: str) -> str:
        if value != "paper" and not value.startswith("choice: "):
            message = f"source is {value!r}; write 'paper' or 'choice: reason'"
            raise ValueError(message)
        return value


class MeditokThresholds(_Closed):
    """Of MedITok's curation; HU are Hounsfield units, image values are 0 to 255."""

    slice_step: Threshold[_Count]
    first_slice: Threshold[Annotated[int, Field(ge=0)]]
    ct_low_hu: Threshold[Annotated[int, Field(ge=-1024, le=31743)]]
    ct_high_hu: Threshold[Annotated[int, Field(ge=-1024, le=31743)]]
    ct_tissue_hu: Threshold[float]
    ct_tissue_fraction: Threshold[_Fraction]
    mr_low_percentile: Threshold[_Percentile]
    mr_high_percentile: Threshold[_Percentile]
    mr_signal_level: Threshold[_Fraction]
    mr_signal_fraction: Threshold[_Fraction]
    minimum_side: Threshold[_Count]
    dynamic_range: Threshold[float]
    standard_deviation: Threshold[float]
    palette: Threshold[_Count]


class SaMed2dThresholds(_Closed):
    """Of SA-Med2D-20M's processing."""

    slice_step: Threshold[_Count]
    aspect: Threshold[_Fraction]
    """Shortest side over longest; below it a slice is dropped."""
    mask_fraction: Threshold[_Fraction]
    """Area of a mask over the area of its image."""
    minimum_side: Threshold[_Count]


class CaptionThresholds(_Closed):
    """Of the image-text pairs."""

    minimum_characters: Threshold[_Count]
    keywords: Threshold[tuple[str, ...]]


class BiomedicaRule(_Closed):
    """Which labels of BIOMEDICA make an image relevant."""

    primary_label: Threshold[str]
    secondary_labels: Threshold[tuple[str, ...]]


class Thresholds(_Closed):
    """All of them."""

    meditok: MeditokThresholds
    sa_med2d: SaMed2dThresholds
    captions: CaptionThresholds
    biomedica: BiomedicaRule

    def __reduce__(self) -> tuple[Any, ...]:
        # Classes made by pydantic's generics have no importable name; workers get the values.
        return Thresholds.model_validate, (self.model_dump(),)


def read_thresholds(path: Path) -> Thresholds:
    """Load and check a file of thresholds.

    Raises:
        UsageError: unreadable, not YAML, a field missing or unknown, or a wrong value.
    """
    try:
        return Thresholds.model_validate(load_yaml(path))
    except (OSError, ValueError) as error:
        message = f"{path}: not a valid file of thresholds: {error}"
        raise UsageError(message) from error


@cache
def packaged_thresholds() -> Thresholds:
    """Those that ship with medbench."""
    return read_thresholds(FILE)
