"""What users may ask of reconstruction beyond its usual metrics.

`--extractor` takes names, separated by commas: `tf` and `clean` (the FID Inception with the other
two ways of resizing), `lpips-vgg`, and the networks of `harness.metrics.extractors.named`.
`--retention` asks a small classifier of the data set what it sees in reconstructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...harness.errors import UsageError
from ...harness.metrics.extractors.inception_definition import VARIANTS
from ...harness.metrics.extractors.named import NamedExtractor, resolve

LPIPS_VGG = "lpips-vgg"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options, understood."""

    variants: tuple[str, ...] = ()
    """Of the FID Inception, besides the main one."""
    networks: tuple[NamedExtractor, ...] = ()
    lpips_vgg: bool = False
    retention: bool = False


def understand(options: Mapping[str, str]) -> Asked:
    """What the user's options ask for.

    Raises:
        UsageError: a value that reconstruction does not know, or a file that is not there.
        MissingPrerequisite: weights that were asked for by name are not on this machine.
    """
    if (flag := options.get("retention", "yes")) != "yes":
        message = f"--retention is {flag!r}; it is asked for or not (in a sweep: true or false)"
        raise UsageError(message)
    names = list(dict.fromkeys(filter(None, options.get("extractor", "").split(","))))
    own = {LPIPS_VGG, *VARIANTS}
    return Asked(
        variants=tuple(name for name in names if name in VARIANTS),
        networks=tuple(resolve(name) for name in names if name not in own),
        lpips_vgg=LPIPS_VGG in names,
        retention="retention" in options,
    )


def identity(options: Mapping[str, str]) -> dict[str, str]:
    """The options as the record's identity names them: weights by their hash."""
    asked = understand(options)
    networks = [f"{network.name}#{network.sha256[:16]}" for network in asked.networks]
    lpips = [LPIPS_VGG] if asked.lpips_vgg else []
    found: dict[str, str] = {}
    if names := sorted([*asked.variants, *networks, *lpips]):
        found["extractor"] = ",".join(names)
    if asked.retention:
        found["retention"] = "yes"
    return found
