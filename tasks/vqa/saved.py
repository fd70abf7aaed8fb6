"""A trained model as a folder, for `--model`: ours, or one in LLaVA's layout.

Ours: the merged language model and its tokenizer as transformers keeps them,
`projector.safetensors` and `vqa.json`. LLaVA's: the same language model with
`model.mm_projector.{0,2}.{weight,bias}` among its weights; such files were never read here, so
records say that the reading is unverified.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ...harness.errors import UsageError
from ...harness.files import canonical_json, write_bytes
from ...harness.sealed import check_seal, seal, write_sealed
from .language import load_language, merged
from .model import AnsweringModel, Projector, Scale
from .saved_files import FACTS, ModelFacts, load_facts, model_files

_PROJECTOR = "projector.safetensors"
_LLAVA = "model.mm_projector."
_ADAPTED = "base_model.model."
"""Before each key that is saved while adapters are in the model."""


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A model with how it is asked."""

    model: AnsweringModel
    facts: ModelFacts


def save_model(folder: Path, model: AnsweringModel, facts: ModelFacts) -> None:
    """Write a model with its adapters merged; `vqa.json` comes last and says that all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    language = merged(model.language)
    language.model.save_pretrained(folder)
    language.tokenizer.save_pretrained(folder)
    tensors: dict[str, Tensor] = {}
    if model.projector is not None:
        tensors |= dict(model.projector.state_dict())
    if model.mean is not None and model.deviation is not None:
        tensors |= {"mean": model.mean, "deviation": model.deviation}
    write_bytes(folder / _PROJECTOR, save({k: v.cpu().contiguous() for k, v in tensors.items()}))
    for path in model_files(folder):
        seal(path)
    write_sealed(folder / FACTS, canonical_json(asdict(facts)).encode())


def load_model(folder: Path) -> SavedModel:
    """Read a model folder; nothing is downloaded.

    Raises:
        UsageError: files are missing, damaged, or do not fit each other.
    """
    for path in model_files(folder):
        check_seal(path, "--model")
    facts = load_facts(folder)
    tensors = _projector_tensors(folder, facts)
    try:
        out_features, hidden = tensors["2.weight"].shape
        projector = Projector(tensors["0.weight"].shape[1], hidden)
        mean, deviation = tensors.pop("mean", None), tensors.pop("deviation", None)
        projector.load_state_dict({name: value.float() for name, value in tensors.items()})
    except (KeyError, RuntimeError, ValueError, AttributeError, TypeError, IndexError) as error:
        message = f"{folder}: no two-layer projector can be read ({error})"
        raise UsageError(message) from error
    scale = Scale(mean, deviation) if mean is not None and deviation is not None else None
    language = load_language(folder)
    if out_features != language.hidden:
        message = (
            f"{folder}: the projector makes {out_features} numbers a token, and the language model "
            f"reads {language.hidden}: they were not trained together"
        )
        raise UsageError(message)
    return SavedModel(AnsweringModel(language, projector, scale).eval(), facts)


def _projector_tensors(folder: Path, facts: ModelFacts) -> dict[str, Tensor]:
    if facts.verified:
        try:
            return load_file(folder / _PROJECTOR)
        except Exception as error:  # a header can claim anything
            message = f"{folder / _PROJECTOR} cannot be read ({error})"
            raise UsageError(message) from error
    found = {}
    for name, value in _llava_tensors(folder):
        name = name.removeprefix(_ADAPTED)
        if name.startswith(_LLAVA):
            found[name.removeprefix(_LLAVA)] = value
    return found


def _llava_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The projector among the weights of a LLaVA folder, whichever file holds it."""
    from safetensors import safe_open

    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        try:
            if path.suffix == ".bin":
                yield from torch.load(
                    path, map_location="cpu", weights_only=True, mmap=True
                ).items()
                continue
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (it is no mapping)
                    if name.removeprefix(_ADAPTED).startswith(_LLAVA):
                        yield name, file.get_tensor(name)
        except Exception as error:  # each library has kinds of its own; code is never run
            reason = str(error).partition("\n")[0]
            message = f"{path}: damaged, or holds more than tensors ({reason})"
            raise UsageError(message) from error
