"""Where a tokenizer's weights file lies on this machine, and how it gets here.

`locate` never opens a connection; only `fetch` downloads. No torch here: listings ask what is
present.
"""

from __future__ import annotations

from pathlib import Path

from .entries import HubFile, ManualFile, PackagedFile, Weights
from .errors import MissingPrerequisite, UsageError
from .file_hashes import file_sha256
from .locations import weights_root
from .weights_lock import hold, locked


def locate(source: Weights, *, tokenizer: str, offline: bool = False) -> Path:
    """The weights file of a tokenizer, checked against its SHA-256 where that is pinned.

    Args:
        source: what the catalogue says.
        tokenizer: `name@variant`, for the message.
        offline: whether the message should leave out the command that downloads.

    Raises:
        MissingPrerequisite: it is not on this machine; the message lists the places looked at.
        UsageError: the file is there, but its content is another one.
    """
    if isinstance(source, PackagedFile):
        return _packaged(source, tokenizer=tokenizer)
    if isinstance(source, ManualFile):
        message = (
            f"{tokenizer}: its weights have to be fetched by hand. Download {source.place} "
            f"(licence: {source.licence}) and pass --weights PATH. {_small(tokenizer)}"
        )
        raise MissingPrerequisite(message)
    looked_at = hub_places(source)
    for path in looked_at:
        if path.is_file():
            hold(source, path)
            return _conversion_of(source) or path
    if (converted := _conversion_of(source)) is not None:
        return converted
    raise MissingPrerequisite(_absence(source, looked_at, tokenizer=tokenizer, offline=offline))


def present(source: Weights) -> bool:
    """Whether a weights file lies on this machine; its content is not looked at."""
    if isinstance(source, PackagedFile):
        return source.path.is_file()
    if isinstance(source, ManualFile):
        return False
    return any(path.is_file() for path in (*hub_places(source), converted_place(source)))


def converted_place(source: HubFile) -> Path:
    """Where `weights fetch` puts the safetensors file that it makes of a torch checkpoint."""
    return weights_root() / source.repository / f"{source.filename}.safetensors"


def _conversion_of(source: HubFile) -> Path | None:
    """The converted file, if it is the one that was made of the pinned or recorded content."""
    path, entry = converted_place(source), locked(source)
    if entry is None or entry.converted_sha256 is None or not path.is_file():
        return None
    if source.sha256 not in (None, entry.sha256):
        return None
    return _checked(path, entry.converted_sha256, remedy="Delete it and fetch the weights again")


def hub_places(source: HubFile) -> list[Path]:
    """Where a published file is looked for: the weights root, then the hub's own cache."""
    from huggingface_hub import constants, try_to_load_from_cache

    places = [weights_root() / source.repository / source.filename]
    cached = try_to_load_from_cache(source.repository, source.filename, revision=source.revision)
    if isinstance(cached, str):
        return [*places, Path(cached)]
    folder = "models--" + source.repository.replace("/", "--")
    return [*places, Path(constants.HF_HUB_CACHE) / folder]


def fetch(source: HubFile) -> Path:
    """Download a published file into the weights root and check it.

    Only the one named file is asked for; nothing of a repository is ever run.

    Raises:
        MissingPrerequisite: the download failed (no network, no such file, no space).
        UsageError: what came is not the pinned content.
    """
    import huggingface_hub

    try:
        path = huggingface_hub.hf_hub_download(
            source.repository,
            source.filename,
            revision=source.revision,
            local_dir=weights_root() / source.repository,
        )
    except Exception as error:  # the hub's client raises many kinds, all with the same meaning
        message = (
            f"{source.repository}/{source.filename} could not be downloaded "
            f"({type(error).__name__}: {error}). Check the connection and the free space, or place "
            f"the file at {hub_places(source)[0]} by hand."
        )
        raise MissingPrerequisite(message) from error
    hold(source, Path(path))
    return Path(path)


def _packaged(source: PackagedFile, *, tokenizer: str) -> Path:
    if not source.path.is_file():
        message = (
            f"{tokenizer}: its weights ship with the package, but {source.path} is not there. "
            "Reinstall medbench, or pass --weights PATH."
        )
        raise MissingPrerequisite(message)
    return _checked(source.path, source.sha256, remedy="Reinstall medbench")


def _checked(path: Path, sha256: str | None, *, remedy: str) -> Path:
    if sha256 is not None and (found := file_sha256(path)) != sha256:
        message = (
            f"{path} is damaged or another file: its SHA-256 is {found[:16]}…, "
            f"expected {sha256[:16]}…. {remedy}."
        )
        raise UsageError(message)
    return path


def _absence(source: HubFile, looked_at: list[Path], *, tokenizer: str, offline: bool) -> str:
    size = f"{source.size_bytes / 1e9:.2f} GB" if source.size_bytes else "size unknown"
    command = f"medbench weights fetch {tokenizer}"
    how = f"On a machine with a connection: {command}" if offline else f"Fetch with: {command}"
    return (
        f"{tokenizer}: its weights are not on this machine "
        f"({source.repository}/{source.filename}, {size}, licence: {source.licence}). "
        f"Looked at: {', '.join(map(str, looked_at))}. "
        f"{how}, or pass --weights PATH. {_small(tokenizer)}"
    )


def _small(tokenizer: str) -> str:
    return f"{tokenizer.partition('@')[0]}@tiny, where it is listed, needs no download."
