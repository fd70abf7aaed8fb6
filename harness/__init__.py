"""What all of medbench stands on: protocols, registry, datasets, metrics, records, runner."""

from pathlib import Path


def package_root() -> Path:
    """The folder of the package `medbench`, which is also the root of its repository."""
    return Path(__file__).resolve().parent.parent


def package_version() -> str:
    """medbench's version."""
    from .. import __version__

    return __version__
