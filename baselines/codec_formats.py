"""JPEG, WebP and AVIF as Pillow writes them: one image and one quality to bytes, and back."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import PIL
from PIL import Image, features

from ..harness.errors import MissingPrerequisite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class CodecFormat:
    """How one format is driven.

    The complete file counts, headers and container included, and no metadata is written: an
    8-bit baseline JPEG spends at least 160 bytes (grey) or 280 (colour) on tables, a WebP 44,
    an AVIF 290.
    """

    name: str
    pillow_name: str
    feature: str
    """What Pillow must be built with, in its own terms."""
    library: str
    """The library that does the work, whose version is reported; in Pillow's terms."""
    qualities: Sequence[int]
    lookahead: int
    """Steps of `qualities` over which a file may become smaller again (`codec_search`)."""
    options: Mapping[str, Any]
    grey_options: Mapping[str, Any]
    """Instead of `options` for a one-channel image."""
    licence: str
    """Of Pillow and the library."""

    def write(self, image: Image.Image, quality: int) -> bytes:
        """Code an image of mode `L` or `RGB`; the same bytes every time."""
        buffer = io.BytesIO()
        options = self.grey_options if image.mode == "L" else self.options
        image.save(buffer, self.pillow_name, quality=quality, **options)
        return buffer.getvalue()

    def read(self, stream: bytes) -> Image.Image:
        """Decode what `write` gave.

        Raises:
            OSError: the bytes are no image of this format.
        """
        image = Image.open(io.BytesIO(stream), formats=[self.pillow_name])
        image.load()
        return image

    def require(self) -> str:
        """Name and version of the library that does the work.

        Raises:
            MissingPrerequisite: this Pillow was built without it.
        """
        if not features.check(self.feature):
            message = (
                f"{self.name}: this Pillow ({PIL.__version__}) was built without {self.feature}. "
                "Install the wheel from PyPI: pip install --upgrade 'pillow>=11.3'"
            )
            raise MissingPrerequisite(message)
        version = features.version(self.library) or "of unknown version"
        return f"Pillow {PIL.__version__}, {self.library} {version}"


_JPEG_OPTIONS = {"optimize": True, "subsampling": "4:2:0"}
# Method 6 is libwebp's most thorough search.
_WEBP_OPTIONS = {"method": 6}
# Speed 8 gives files 10 to 15 per cent larger than speed 6, in a fifth of its time.
_AVIF_OPTIONS = {"speed": 8, "max_threads": 1}

FORMATS: Mapping[str, CodecFormat] = {
    "jpeg": CodecFormat(
        name="jpeg",
        pillow_name="JPEG",
        feature="jpg",
        library="libjpeg_turbo",
        qualities=range(1, 96),
        lookahead=6,
        options=_JPEG_OPTIONS,
        grey_options=_JPEG_OPTIONS,
        licence="MIT-CMU (Pillow), IJG and BSD-3-Clause (libjpeg-turbo)",
    ),
    "webp": CodecFormat(
        name="webp",
        pillow_name="WEBP",
        feature="webp",
        library="webp",
        qualities=range(101),
        lookahead=6,
        options=_WEBP_OPTIONS,
        grey_options=_WEBP_OPTIONS,
        licence="MIT-CMU (Pillow), BSD-3-Clause (libwebp)",
    ),
    "avif": CodecFormat(
        name="avif",
        pillow_name="AVIF",
        feature="avif",
        library="avif",
        qualities=range(101),
        lookahead=4,
        options={**_AVIF_OPTIONS, "subsampling": "4:2:0"},
        grey_options={**_AVIF_OPTIONS, "subsampling": "4:0:0"},
        licence="MIT-CMU (Pillow), BSD-2-Clause (libavif, libaom)",
    ),
}
