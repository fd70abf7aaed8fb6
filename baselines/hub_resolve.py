"""What `diffusers:`, `hf:`, `timm:` and `open_clip:` mean, without torch where that is possible.

Only files are named here; no code of a hub repository is ever fetched or run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..harness.entries import HubFile, Resolved, TokenizerEntry, Variant
from ..harness.errors import MissingPrerequisite, UsageError
from ..harness.protocol import Kind

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(#[\w.-]+)?")


def diffusers(argument: str, revision: str | None) -> Resolved:
    """`diffusers:REPO`, `diffusers:REPO#SUBFOLDER` or a local folder with config.json."""
    return _autoencoder(
        "diffusers",
        argument,
        revision,
        target="medbench.baselines.hub_autoencoder:build",
        filename="diffusion_pytorch_model.safetensors",
    )


def hugging_face(argument: str, revision: str | None) -> Resolved:
    """`hf:REPO` or a local folder: an Emu3-style tokenizer in transformers' layout."""
    return _autoencoder(
        "hf",
        argument,
        revision,
        target="medbench.baselines.hub_emu3:build",
        filename="model.safetensors",
    )


def timm(argument: str, revision: str | None) -> Resolved:
    """`timm:NAME`: a pretrained image encoder of timm; features only."""
    import timm as library

    if argument not in library.list_models(pretrained=False) and not library.is_model(argument):
        near = library.list_models(f"*{argument.partition('.')[0]}*")[:3]
        hint = f" Did you mean: {', '.join(near)}?" if near else ""
        message = f"timm:{argument}: timm has no model of that name.{hint} All: timm.list_models()"
        raise UsageError(message)
    facts = library.get_pretrained_cfg(argument)
    if facts is None or not facts.hf_hub_id:
        message = f"timm:{argument}: timm knows no published weights on the hub for it"
        raise MissingPrerequisite(message)
    filename = facts.hf_hub_filename or "model.safetensors"
    source = HubFile(
        facts.hf_hub_id, filename, revision or "main", licence=facts.license or "unknown"
    )
    return _encoder("timm", argument, revision, source)


def open_clip(argument: str, revision: str | None) -> Resolved:
    """`open_clip:MODEL/WEIGHTS`, as `open_clip.list_pretrained()` names them; features only."""
    import open_clip as library

    model, _, tag = argument.partition("/")
    facts = library.get_pretrained_cfg(model, tag) if tag else {}
    if not facts:
        tags = library.list_pretrained_tags_by_model(model)
        seen = f"its weights: {', '.join(tags[:6])}" if tags else "no such model"
        message = (
            f"open_clip:{argument}: give MODEL/WEIGHTS as open_clip.list_pretrained() has them; "
            f"for {model!r}: {seen}"
        )
        raise UsageError(message)
    repository = str(facts.get("hf_hub") or "").strip("/")
    if not repository:
        message = f"open_clip:{argument}: its weights are on no hub; pass --weights PATH"
        raise MissingPrerequisite(message)
    parts = repository.split("/")
    filename = "/".join(parts[2:]) or "open_clip_model.safetensors"
    source = HubFile("/".join(parts[:2]), filename, revision or "main")
    return _encoder("open_clip", argument, revision, source)


def _encoder(prefix: str, argument: str, revision: str | None, source: HubFile) -> Resolved:
    variant = Variant("published weights, features only", {"model": argument}, source)
    return Resolved(
        _entry(
            prefix,
            argument,
            revision,
            variant,
            target=f"medbench.baselines.hub_encoder:build_{prefix}",
            kind="continuous",
        )
    )


def _autoencoder(
    prefix: str, argument: str, revision: str | None, *, target: str, filename: str
) -> Resolved:
    config: dict[str, Any] = {"model": argument}
    folder = Path(argument)
    if folder.is_dir():
        config["model"] = folder.resolve().name  # a record names no path of this machine
        variant = Variant("a folder", config)
        entry = _entry(prefix, config["model"], None, variant, target=target, kind="discrete")
        return Resolved(entry, weights=_weights_in(folder, filename))
    if not _REPOSITORY.fullmatch(argument):
        message = (
            f"{prefix}:{argument}: neither a folder nor a repository of the hub "
            "(OWNER/NAME, or OWNER/NAME#SUBFOLDER)"
        )
        raise UsageError(message)
    repository, _, subfolder = argument.partition("#")
    place = f"{subfolder}/" if subfolder else ""
    revision = revision or "main"
    variant = Variant(
        "published weights",
        config,
        HubFile(repository, place + filename, revision),
        companions=(HubFile(repository, place + "config.json", revision),),
    )
    entry = _entry(prefix, argument, revision, variant, target=target, kind="discrete")
    return Resolved(entry)


def _weights_in(folder: Path, filename: str) -> Path:
    stem = filename.rpartition(".")[0]
    names = (filename, f"{filename}.index.json", f"{stem}.bin")
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None or not (folder / "config.json").is_file():
        message = f"{folder}: expected config.json and one of {', '.join(names)}"
        raise MissingPrerequisite(message)
    return found


def _entry(
    prefix: str, argument: str, revision: str | None, variant: Variant, *, target: str, kind: Kind
) -> TokenizerEntry:
    name = revision or "main"
    return TokenizerEntry(
        name=f"{prefix}:{argument}",
        target=target,
        kind=kind,
        default_variant=name,
        summary=f"{argument} through {prefix}",
        variants={name: variant},
        origin=prefix,
    )
