"""The small tokenizers, codecs and bounds on real images: docs/real-TASK.md.

    python benchmarks/real_images.py recon|probe|synthesis [--output runs/real] [--at-a-time 2]

`MEDBENCH_DATA` names a folder with `recon/MODALITY/*.png`, `medmnist/{breast,pneumonia}mnist.npz`
and `derived_classification/*.npz`. A sweep: call it again to go on. JPEG, WebP and AVIF have the
bits of MedITok and of VQGAN. Beside the probes stand a ResNet-18 of timm with random weights and
a small network trained on each set: chance below the one, the other above it, or the probe is
broken (`real_anchor`). Runs start in the output folder, where a link `data`
leads to the images, so that the commands told with the tables hold on any machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import timm
import torch
import yaml
from real_anchor import anchor_text, with_anchor
from safetensors.torch import save_file

from medbench.harness.files import write_bytes
from medbench.harness.locations import data_root
from medbench.harness.record_files import load_records

DOCS = Path(__file__).resolve().parents[1] / "docs"
BOUNDS = ["mean", "down8", "down16"]
CODECS = [f"{codec}@{of}" for of in ("meditok", "vqgan@tiny") for codec in ("jpeg", "webp", "avif")]
SETS = [
    "npz@ultrasound:data/medmnist/breastmnist.npz",
    "npz@xray:data/medmnist/pneumoniamnist.npz",
    "npz@mri:data/derived_classification/brainmri4_28_derived.npz",
    "npz@dermoscopy:data/derived_classification/ham_malignant_28_derived.npz",
]
LIMIT = 100
TASKS = {
    "recon": {"datasets": ["folder:data/recon"]},
    "probe": {"datasets": SETS, "limit": LIMIT},
    # Generated images first; then the four sets as four classes.
    "synthesis": {"datasets": ["medsynth", f"union:{','.join(SETS)}"]},
}
BESIDE = {"recon": [*BOUNDS, *CODECS], "probe": ["pixels", "down16"], "synthesis": ["jpeg@meditok"]}
ANCHOR = "resnet18.a1_in1k"


def spec(task: str, at_a_time: int) -> dict[str, object]:
    """The sweep's terms."""
    cells = {"name": task, **TASKS[task]}
    tokenizers = ["*@tiny", *BESIDE[task]]
    threads = max(1, (os.cpu_count() or 1) // at_a_time)
    return {"tokenizers": tokenizers, "tasks": [cells], "at_a_time": at_a_time, "threads": threads}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--output", type=Path, default=Path("runs/real"))
    parser.add_argument("--at-a-time", type=int, default=2)
    asked = parser.parse_args()
    folder = asked.output / asked.task
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data").is_symlink():
        (folder / "data").symlink_to(data_root().resolve(), target_is_directory=True)
    write_bytes(folder / "sweep.yaml", yaml.safe_dump(spec(asked.task, asked.at_a_time)).encode())
    medbench(folder, "sweep", "sweep.yaml", "--output", "results")
    if asked.task == "probe":
        probe_anchor(folder)
    page = DOCS / f"real-{asked.task}.md"
    if not page.exists():
        write_bytes(page, b"# Real images\n\n<!-- medbench:begin -->\n<!-- medbench:end -->\n")
    medbench(folder, "leaderboard", "--results", "results", "--update", str(page))
    if asked.task == "probe":
        results, ceiling = (load_records(folder / name) for name in ("results", "ceiling"))
        text = anchor_text(results, ceiling, f"timm:{ANCHOR}@untrained")
        write_bytes(page, with_anchor(page.read_text(), text).encode())


def probe_anchor(folder: Path) -> None:
    """A network that is known and has learnt nothing, and one that has learnt the set."""
    torch.manual_seed(0)
    save_file(timm.create_model(ANCHOR).state_dict(), folder / "untrained.safetensors")
    weights = ["--weights", "untrained.safetensors", "--label", "untrained"]
    for dataset in SETS:
        images = ["--dataset", dataset, "--limit", str(LIMIT)]
        medbench(
            *(folder, "run", "--tokenizer", f"timm:{ANCHOR}", *weights),
            *("--task", "probe", *images),
        )
        # Retention asks its classifier about the originals too; any tokenizer will do.
        medbench(
            *(folder, "run", "--tokenizer", "down16", "--output", "ceiling"),
            *("--task", "recon", "--retention", *images),
        )


def medbench(folder: Path, *words: str) -> None:
    """A command of medbench in a folder; its failure ends the script."""
    finished = subprocess.run([sys.executable, "-m", "medbench", *words], cwd=folder, check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)


if __name__ == "__main__":
    main()
