"""`medbench doctor`: what is installed, what is here, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import package_version
from .errors import MedbenchError
from .listing import weights_rows
from .locations import cache_root, weights_root
from .registry import load_target, plugins

_REQUIRED = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "scikit-image",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "pillow",
    "pydicom",
    "safetensors",
    "pytorch-fid",
    "pytorch-msssim",
    "torchmetrics",
    "lpips",
    "transformers",
    "open_clip_torch",
    "medmnist",
    "huggingface_hub",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    area: str
    name: str
    state: str
    """`ok`, `missing` or `broken`."""
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All findings."""

    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether every required package is installed and the cache can be written."""
        needed = (f for f in self.findings if f.area in {"packages", "places"})
        return all(f.state == "ok" for f in needed)

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        return {"usable": self.usable, "findings": [asdict(f) for f in self.findings]}

    def text(self) -> str:
        """The report for people."""
        from tabulate import tabulate

        parts = []
        for area in dict.fromkeys(f.area for f in self.findings):
            rows = [[f.name, f.state, f.detail] for f in self.findings if f.area == area]
            parts.append(tabulate(rows, headers=[area, "state", ""], tablefmt="simple"))
        remedies = [f"  {f.name}: {f.remedy}" for f in self.findings if f.remedy]
        if remedies:
            parts.append("To get what is missing:\n" + "\n".join(remedies))
        return "\n\n".join(parts)


def diagnose(data_root: Path | None = None) -> Report:
    """Look at this machine without opening the network; of code, others' plugins are imported."""
    findings = [
        Finding("system", "medbench", "ok", package_version()),
        Finding("system", "python", "ok", platform.python_version()),
        Finding("system", "GPU driver", *_driver()),
        *(_package(name) for name in _REQUIRED),
        *_places(data_root),
        *_plugins(),
        *_weights(),
    ]
    return Report(tuple(findings))


def _driver() -> tuple[str, str]:
    found = shutil.which("nvidia-smi") is not None
    return "ok", "nvidia-smi found" if found else "none found; runs use the CPU"


def _package(name: str) -> Finding:
    try:
        return Finding("packages", name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", name, "missing", "not installed", f"pip install {name}")


def _places(data_root: Path | None) -> list[Finding]:
    from .locations import data_root as environment_root

    findings = []
    try:
        cache = cache_root()
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free / 1e9
        findings.append(Finding("places", "cache", "ok", f"{cache} ({free:.0f} GB free)"))
    except (OSError, MedbenchError) as error:
        remedy = "set MEDBENCH_CACHE to a folder that can be written"
        findings.append(Finding("places", "cache", "broken", str(error), remedy))
    root = None
    try:
        root = data_root or environment_root()
        where = str(root) if root else "not set; only the embedded data sets are found"
        findings.append(Finding("places", "data root", "ok", where))
    except MedbenchError as error:
        remedy = "set MEDBENCH_DATA to your data folder"
        findings.append(Finding("places", "data root", "broken", str(error), remedy))
    findings.append(Finding("places", "weights", "ok", str(weights_root())))
    return findings + _data(root)


def _data(root: Path | None) -> list[Finding]:
    """The sets that are here, at first sight, and how many others have a card."""
    from .datasets.available import known_cards, presence

    findings = []
    seen = {name: presence(card, root) for name, card in known_cards().items()}
    for name, found in seen.items():
        if found.state == "embedded":
            findings.append(Finding("data", name, "ok", "embedded"))
        elif found.state == "found":
            findings.append(Finding("data", name, "ok", f"{found.place} ({found.detail})"))
        elif found.state == "partly":
            remedy = f"medbench data verify {name}"
            findings.append(Finding("data", name, "missing", found.detail, remedy))
    others = len(seen) - len(findings)
    return [*findings, Finding("data", "others", "ok", f"{others} not here: medbench data list")]


def _plugins() -> list[Finding]:
    """What other packages register, and whether it can be imported."""
    findings = []
    for group in ("tokenizers", "tasks", "datasets"):
        for name, target, origin in plugins(group):
            what = f"{group.removesuffix('s')} {name}"
            try:
                load_target(target)
            except MedbenchError as error:
                remedy = f"mend or uninstall {origin}"
                findings.append(Finding("plugins", what, "broken", str(error), remedy))
            else:
                findings.append(Finding("plugins", what, "ok", f"{target} ({origin})"))
    return findings


def _weights() -> list[Finding]:
    findings = []
    try:
        rows = weights_rows()
    except MedbenchError as error:  # two tokenizers of one name, a damaged registration
        return [Finding("weights", "tokenizers", "broken", str(error), "mend what is named")]
    for row in rows:
        if row["state"] == "ready":
            findings.append(Finding("weights", row["tokenizer"], "ok", row["source"]))
            continue
        size = f"{row['size_bytes'] / 1e9:.2f} GB" if row["size_bytes"] else "size unknown"
        detail = f"{row['source']}, {size}, licence {row['licence']}"
        by_hand = row["source"].startswith("by hand: ")
        fetch = f"medbench weights fetch {row['tokenizer']}"
        remedy = f"{row['source']}, then --weights PATH" if by_hand else fetch
        findings.append(Finding("weights", row["tokenizer"], "missing", detail, remedy))
    return [*findings, _inception(), _lpips()]


def _inception() -> Finding:
    from .metrics.extractors import inception_file

    found = inception_file.locate()
    if found is not None:
        return Finding("weights", "FID Inception", "ok", str(found))
    detail = "rfid and kid are absent; rfd_random is computed instead"
    return Finding("weights", "FID Inception", "missing", detail, inception_file.remedy())


def _lpips() -> Finding:
    from .metrics import lpips_file

    found = lpips_file.locate("alex")
    if found is not None:
        return Finding("weights", "LPIPS trunk", "ok", str(found))
    return Finding(
        "weights", "LPIPS trunk", "missing", "lpips is absent", lpips_file.remedy("alex")
    )
