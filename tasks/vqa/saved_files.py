"""Which files of a folder make a saved model; without torch, so that records can be named."""

from __future__ import annotations

from pathlib import Path

from ...harness.errors import UsageError

_KINDS = frozenset({".json", ".safetensors", ".bin", ".model"})


def model_files(folder: Path) -> list[Path]:
    """In alphabetical order.

    Raises:
        UsageError: the folder holds no model.
    """
    if not (folder / "config.json").is_file():
        message = (
            f"--model {folder}: no config.json there. A folder is expected that `medbench run "
            "--task vqa` made, or one in LLaVA's layout."
        )
        raise UsageError(message)
    return sorted(path for path in folder.iterdir() if path.suffix in _KINDS)
