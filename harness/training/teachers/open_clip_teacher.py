"""Published open_clip models as teachers, from files that are on this machine."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...documents import load_json
from ...entries import HubFile
from ...errors import MissingPrerequisite, UsageError
from ...locate import hub_places
from ...weights import load_into, read_state_dict
from .clip_teacher import ClipTeacher

PREFIX = "open_clip:"
UNTRAINED = "untrained"
"""Given as `weights`: random ones, for measuring memory and time without any download."""

_CONFIG = "open_clip_config.json"
_WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
_REPOSITORIES = {"biomedclip": "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"}
_TAGGED = {"clip": "ViT-B-16-quickgelu/openai"}
_BERT_BASE = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
"""BiomedCLIP's text model: sizes and vocabulary length of BERT base, which transformers has as
its defaults."""
_BIOMEDCLIP: Mapping[str, Any] = {
    "embed_dim": 512,
    "vision_cfg": {
        "timm_model_name": "vit_base_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    },
    "text_cfg": {
        "hf_model_name": _BERT_BASE,
        "hf_tokenizer_name": _BERT_BASE,
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
    },
}
_LEFT_OUT = (
    r"text\.transformer\.embeddings\.position_ids",
    r"text\.transformer\.pooler\.",
    r"input_resolution",
    r"context_length",
    r"vocab_size",
)
"""Tensors of older files that open_clip's present networks do not have."""


def knows(name: str) -> bool:
    """Whether `name` means an open_clip model."""
    return name in _REPOSITORIES or name in _TAGGED or name.startswith(PREFIX)


KNOWN = (*_REPOSITORIES, *_TAGGED, f"{PREFIX}MODEL/WEIGHTS", f"{PREFIX}OWNER/REPOSITORY")
"""For messages."""


def load_open_clip(name: str, weights: str | None) -> ClipTeacher:
    """A published model; nothing is downloaded.

    Args:
        name: one of `KNOWN`.
        weights: a folder in open_clip's hub layout, a weights file of a model that open_clip knows
            by name, `untrained`, or None for the weights root and the hub's cache.

    Raises:
        MissingPrerequisite: a file is not on this machine.
        UsageError: there is no such model, or its weights do not fit.
    """
    tagged, repository = _meant(name)
    if repository is None:
        return _load_tagged(name, tagged, weights)
    if weights == UNTRAINED:
        if name != "biomedclip":
            message = f"teacher {name!r}: only models whose sizes are known can be untrained"
            raise UsageError(message)
        return _untrained(_BIOMEDCLIP, None)
    return _load_folder(name, _folder(name, repository, weights))


def find_open_clip(name: str, weights: str | None) -> None:
    """Look for a model's files, without reading them; arguments and errors of `load_open_clip`."""
    tagged, repository = _meant(name)
    if weights == UNTRAINED:
        return
    if repository is None:
        _tagged_file(name, tagged, weights)
    else:
        _weights_in(name, _folder(name, repository, weights))


def _meant(name: str) -> tuple[str, str | None]:
    """`MODEL/WEIGHTS`, and the hub's repository where the name means one instead."""
    tagged = _TAGGED.get(name, name.removeprefix(PREFIX))
    repository = _REPOSITORIES.get(name)
    if repository is None and not _is_tagged(tagged):
        repository = tagged
    if repository is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        message = f"teacher {name!r}: neither MODEL/WEIGHTS of open_clip nor OWNER/REPOSITORY"
        raise UsageError(message)
    return tagged, repository


def _is_tagged(reference: str) -> bool:
    """Whether it is `MODEL/WEIGHTS` as open_clip lists them."""
    import open_clip

    model, _, tag = reference.partition("/")
    return bool(tag) and bool(open_clip.get_pretrained_cfg(model, tag))


def _load_tagged(name: str, reference: str, weights: str | None) -> ClipTeacher:
    """A model whose sizes open_clip knows: one weights file is all that is needed."""
    import open_clip

    model = reference.partition("/")[0]
    sizes = open_clip.get_model_config(model)
    assert sizes is not None
    if weights == UNTRAINED:
        return _untrained(sizes, open_clip.get_tokenizer(model))
    path = _tagged_file(name, reference, weights)
    network = _build(name, sizes)
    _fill(network, path)
    return ClipTeacher(network, open_clip.get_tokenizer(model), resize="nearest")


def _tagged_file(name: str, reference: str, weights: str | None) -> Path:
    path = Path(weights) if weights else _published(name, *reference.split("/", 1))
    if not path.is_file():
        message = f"teacher {name!r}: there is no weights file {path}"
        raise MissingPrerequisite(message)
    return path


def _published(name: str, model: str, tag: str) -> Path:
    import open_clip

    place = str(open_clip.get_pretrained_cfg(model, tag).get("hf_hub") or "").strip("/")
    owner, _, rest = place.partition("/")
    repository, _, filename = rest.partition("/")
    if not repository:
        message = f"teacher {name!r}: its weights are on no hub. Give the file under `weights`"
        raise MissingPrerequisite(message)
    source = HubFile(f"{owner}/{repository}", filename or _WEIGHTS[0])
    looked_at = hub_places(source)
    found = next((place for place in looked_at if place.is_file()), None)
    if found is None:
        raise MissingPrerequisite(_absence(name, source.repository, source.filename, looked_at))
    return found


def _folder(name: str, repository: str, weights: str | None) -> Path:
    """The folder that has the model's configuration, weights and tokenizer."""
    if weights is not None:
        folder = Path(weights)
        if not (folder / _CONFIG).is_file():
            message = f"teacher {name!r}: {folder} is no folder with {_CONFIG}"
            raise MissingPrerequisite(message)
        return folder
    looked_at = hub_places(HubFile(repository, _CONFIG))
    found = next((place for place in looked_at if place.is_file()), None)
    if found is None:
        raise MissingPrerequisite(_absence(name, repository, _CONFIG, looked_at))
    return found.parent


def _absence(name: str, repository: str, filename: str, looked_at: list[Path]) -> str:
    return (
        f"teacher {name!r} is not on this machine ({repository}/{filename} of the Hugging Face "
        f"hub). Looked at: {', '.join(map(str, looked_at))}. Training downloads nothing: fetch it "
        f"with `hf download {repository}`, or give its place under `teacher.weights`. The teacher "
        "`miniature`, trained as a stage of the run, needs no download."
    )


def _load_folder(name: str, folder: Path) -> ClipTeacher:
    """A model in open_clip's hub layout."""
    import open_clip

    try:
        content = load_json(folder / _CONFIG)
        sizes = content["model_cfg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"teacher {name!r}: {folder / _CONFIG} does not describe a model ({error!r})"
        raise UsageError(message) from error
    path = _weights_in(name, folder)
    try:
        tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")
    except Exception as error:  # the libraries below let all kinds of errors through
        message = (
            f"teacher {name!r}: {folder} holds no usable tokenizer ({type(error).__name__}: "
            f"{error}). The repository's tokenizer files belong beside the weights"
        )
        raise MissingPrerequisite(message) from error
    network = _build(name, sizes, folder)
    _fill(network, path)
    return ClipTeacher(network, tokenize, resize="nearest")


def _weights_in(name: str, folder: Path) -> Path:
    path = next((folder / each for each in _WEIGHTS if (folder / each).is_file()), None)
    if path is None:
        message = f"teacher {name!r}: {folder} has none of {', '.join(_WEIGHTS)}"
        raise MissingPrerequisite(message)
    return path


def _build(name: str, sizes: Mapping[str, Any], folder: Path | None = None) -> nn.Module:
    """The network, with its text tower as a module of its own; nothing is looked up on a hub."""
    from open_clip.model import CustomTextCLIP

    known = {k: v for k, v in sizes.items() if k != "custom_text"}
    text = dict(known.get("text_cfg", {}))
    vision = {**known.get("vision_cfg", {}), "timm_model_pretrained": False}
    if text.get("hf_model_name"):
        text["hf_model_pretrained"] = False
    try:
        with tempfile.TemporaryDirectory() as temporary:
            if text.get("hf_model_name"):
                text["hf_model_name"] = _text_sizes(text["hf_model_name"], folder, Path(temporary))
            return CustomTextCLIP(**{**known, "vision_cfg": vision, "text_cfg": text})
    except MissingPrerequisite:
        raise
    except Exception as error:  # open_clip, timm and transformers each have their own
        message = f"teacher {name!r}: cannot be built ({type(error).__name__}: {error})"
        raise UsageError(message) from error


def _text_sizes(name: str, folder: Path | None, temporary: Path) -> str:
    """A folder with the `config.json` of a transformers text model."""
    from huggingface_hub import try_to_load_from_cache

    if folder is not None and (folder / "config.json").is_file():
        return str(folder)
    cached = try_to_load_from_cache(name, "config.json")
    if isinstance(cached, str):
        return str(Path(cached).parent)
    if "BiomedBERT-base" in name or "PubMedBERT-base" in name:
        from transformers import BertConfig

        BertConfig().save_pretrained(temporary)  # BERT base, whose sizes are the defaults
        return str(temporary)
    message = (
        f"the text model {name} has its sizes in a config.json of its own, which is not on this "
        "machine. Put it beside the teacher's weights"
    )
    raise MissingPrerequisite(message)


def _fill(network: nn.Module, path: Path) -> None:
    from open_clip.model import convert_to_custom_text_state_dict

    state = convert_to_custom_text_state_dict(read_state_dict(path))
    load_into(network, state, name=str(path), allow_unexpected=_LEFT_OUT)


def _untrained(
    sizes: Mapping[str, Any], tokenize: Callable[[list[str]], Tensor] | None
) -> ClipTeacher:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _build(UNTRAINED, sizes)
    length = sizes["text_cfg"]["context_length"]
    return ClipTeacher(network, tokenize or _Letters(length), resize="nearest")


@dataclass(frozen=True, slots=True)
class _Letters:
    """Numbers a text's bytes: as good as any vocabulary for a network that has learned nothing."""

    length: int

    def __call__(self, texts: list[str]) -> Tensor:
        rows = torch.zeros(len(texts), self.length, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            content = text.encode()[: self.length]
            row[: len(content)] = torch.tensor(list(content)) + 1
        return rows
