"""Feature spaces that users ask for by name: which network, and where its weights are.

    dinov2                 timm's vit_large_patch14_dinov2.lvd142m
    timm:NAME              any timm model; timm:NAME=FILE with weights of your own
    openclip:MODEL/TAG     the image tower of an open_clip model; openclip:MODEL=FILE

Only files on this machine are used. A name whose weights are absent is refused: a network with
random weights would give numbers that look like others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...entries import HubFile
from ...errors import MissingPrerequisite, UsageError
from ...file_hashes import file_sha256
from ...locate import hub_places

ALIASES = {"dinov2": "timm:vit_large_patch14_dinov2.lvd142m"}
FORMS = ("dinov2", "openclip:MODEL/TAG", "timm:NAME")
_LONGEST = 44
"""Characters of a name, which tables show as part of a setting."""


@dataclass(frozen=True, slots=True)
class NamedExtractor:
    """A network and its weights file.

    Attributes:
        name: as tables show it; with the file's first digits where the user gave one.
        library: `timm` or `open_clip`.
        model: the library's name of it, of open_clip as `MODEL/TAG` (or `MODEL`).
        path: the weights.
        sha256: of the weights.
    """

    name: str
    library: str
    model: str
    path: Path
    sha256: str

    @property
    def definition(self) -> dict[str, str | int | float]:
        """All that changes the features."""
        return {
            "name": self.name,
            "network": f"{self.library} {self.model}, pooled image features",
            "resize": "the whole image to the side of the weights, bicubic, antialiased, float32",
            "input": "mean and deviation of the weights' own preprocessing",
            "weights_sha256": self.sha256,
        }


def resolve(text: str) -> NamedExtractor:
    """What a name means on this machine.

    Raises:
        UsageError: no such form, model or file.
        MissingPrerequisite: the weights are not on this machine.
    """
    prefix, _, rest = ALIASES.get(text, text).partition(":")
    model, _, file = rest.partition("=")
    libraries: dict[str, tuple[str, Callable[[str], HubFile]]] = {
        "timm": ("timm", _timm_file),
        "openclip": ("open_clip", _open_clip_file),
    }
    if prefix not in libraries or not model:
        message = f"--extractor {text!r}: give one of {', '.join(FORMS)}, or tf, clean, lpips-vgg"
        raise UsageError(message)
    library, published = libraries[prefix]
    path = Path(file).expanduser() if file else _find(text, published(model))
    if not path.is_file():
        message = f"--extractor {text}: the weights file {path} does not exist"
        raise UsageError(message)
    sha256 = file_sha256(path)
    name = f"{text.partition('=')[0]}@{sha256[:8]}" if file else text
    if len(name) > _LONGEST:
        message = f"--extractor {text}: the name has more than {_LONGEST} characters"
        raise UsageError(message)
    return NamedExtractor(name, library, model, path, sha256)


def _find(text: str, source: HubFile) -> Path:
    places = hub_places(source)
    for path in places:
        if path.is_file():
            return path
    message = (
        f"--extractor {text}: its weights are not on this machine "
        f"({source.repository}/{source.filename}, licence: {source.licence}); `run` downloads "
        f"nothing, and random weights are never used in their place. Put the file at {places[0]}, "
        f"or name one of your own with {text}=FILE."
    )
    raise MissingPrerequisite(message)


def _timm_file(model: str) -> HubFile:
    import timm

    if not timm.is_model(model.partition(".")[0]):
        message = f"--extractor timm:{model}: timm has no such model; all: timm.list_models()"
        raise UsageError(message)
    facts = timm.get_pretrained_cfg(model)
    if facts is None or not facts.hf_hub_id:
        message = f"--extractor timm:{model}: no published weights; give timm:{model}=FILE"
        raise MissingPrerequisite(message)
    filename = facts.hf_hub_filename or "model.safetensors"
    return HubFile(facts.hf_hub_id, filename, licence=facts.license or "unknown")


def _open_clip_file(model: str) -> HubFile:
    import open_clip

    architecture, _, tag = model.partition("/")
    facts = open_clip.get_pretrained_cfg(architecture, tag) if tag else {}
    parts = str((facts or {}).get("hf_hub") or "").strip("/").split("/")
    if len(parts) < 2:
        message = (
            f"--extractor openclip:{model}: give MODEL/TAG as open_clip.list_pretrained() has "
            f"them and the hub holds, or openclip:{architecture}=FILE"
        )
        raise UsageError(message)
    return HubFile("/".join(parts[:2]), "/".join(parts[2:]) or "open_clip_model.safetensors")
