"""The small tokenizers, codecs and bounds on real images: the tables of docs/real-images.md.

    python benchmarks/real_images.py [--output runs/real] [--only recon|probe] [--at-a-time 2]

`MEDBENCH_DATA` names a folder with `recon/MODALITY/*.png`, `medmnist/{breast,pneumonia}mnist.npz`
and `derived_classification/*.npz`. A sweep: call it again to go on. JPEG, WebP and AVIF have the
bits of MedITok and of VQGAN. Runs start in the output folder, where a link `data` leads to the
images, so that the commands told with the tables hold on any machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import yaml

from medbench.harness.files import write_bytes
from medbench.harness.locations import data_root

PAGE = Path(__file__).resolve().parents[1] / "docs" / "real-images.md"
BOUNDS = ["mean", "down8", "down16"]
CODECS = [f"{codec}@{of}" for of in ("meditok", "vqgan@tiny") for codec in ("jpeg", "webp", "avif")]
LIMIT = 100


def spec(task: str, at_a_time: int) -> dict[str, object]:
    """The sweep's terms."""
    sets = [
        "npz@ultrasound:data/medmnist/breastmnist.npz",
        "npz@xray:data/medmnist/pneumoniamnist.npz",
        "npz@mri:data/derived_classification/brainmri4_28_derived.npz",
        "npz@dermoscopy:data/derived_classification/ham_malignant_28_derived.npz",
    ]
    tasks = {
        "recon": {"name": "recon", "datasets": ["folder:data/recon"]},
        "probe": {"name": "probe", "datasets": sets, "limit": LIMIT},
    }
    others = {"recon": [*BOUNDS, *CODECS], "probe": ["pixels", "down16"]}
    return {
        "tokenizers": ["*@tiny", *others[task]],
        "tasks": [tasks[task]],
        "at_a_time": at_a_time,
        "threads": 1,
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/real"))
    parser.add_argument("--only", choices=("recon", "probe"))
    parser.add_argument("--at-a-time", type=int, default=2)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    link = asked.output / "data"
    if not link.is_symlink():
        link.symlink_to(data_root().resolve(), target_is_directory=True)
    for name in [asked.only] if asked.only else ["recon", "probe"]:
        terms = yaml.safe_dump(spec(name, asked.at_a_time))
        write_bytes(asked.output / f"{name}.yaml", terms.encode())
        medbench(asked.output, "sweep", f"{name}.yaml", "--output", "results")
    medbench(asked.output, "leaderboard", "--results", "results", "--update", str(PAGE))


def medbench(folder: Path, *words: str) -> None:
    """A command of medbench in a folder; its failure ends the script."""
    finished = subprocess.run([sys.executable, "-m", "medbench", *words], cwd=folder, check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)


if __name__ == "__main__":
    main()
