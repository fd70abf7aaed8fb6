"""The controlled track: train every design under one budget, and publish weights with their cards.

    python benchmarks/controlled_track.py train [NAME …] [--minutes 55]
    python benchmarks/controlled_track.py publish [NAME …]

`train` goes on wherever it was stopped, by itself after the given time; call it until it says that
all is trained. `publish` puts finished weights into the package: a file whose name carries its
hash, an index that the catalogues read, and a card written from the run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medbench.harness.file_hashes import file_sha256
from medbench.harness.files import write_bytes, write_json
from medbench.harness.packaged import INDEX
from medbench.harness.training.presets import presets

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Member:
    """A tokenizer of the track: its preset, the stage of that run, and its part of the package."""

    preset: str
    stage: str
    package: str


TRACK = {
    "meditok": Member("tiny", "stage2", "tokenizers"),
    "meditok-s1": Member("tiny", "stage1", "tokenizers"),
    "pumit": Member("pumit-tiny", "", "baselines"),
    "unitok": Member("unitok-tiny", "train", "baselines"),
    "tokenflow": Member("tokenflow-tiny", "train", "baselines"),
    "medvae": Member("medvae-tiny", "", "baselines"),
    "vqgan": Member("vqgan-tiny", "", "baselines"),
    "emu3-vq": Member("emu3-vq-tiny", "", "baselines"),
}


def train(names: list[str], folder: Path, minutes: float) -> bool:
    """Train the presets of these members one after the other; False where time ran out."""
    end = time.monotonic() + 60 * minutes
    for preset in dict.fromkeys(TRACK[name].preset for name in names):
        command = [sys.executable, "-m", "medbench", "train", preset, "--resume"]
        place = folder / preset
        with subprocess.Popen([*command, "--output", str(place)]) as process:
            try:
                code = process.wait(max(end - time.monotonic(), 1))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)  # it saves, and goes on next time
                process.wait()
                return False
        if code:
            raise SystemExit(code)
    return True


def publish(names: list[str], folder: Path) -> None:
    """Put the weights of these members into the package, in the place of earlier ones."""
    for name in names:
        member = TRACK[name]
        run = folder / member.preset / member.stage
        weights = run / "weights.safetensors"
        if not weights.exists():
            sys.stderr.write(f"{name}: not trained yet ({weights} is missing)\n")
            continue
        target = ROOT / member.package / "weights"
        sha256 = file_sha256(weights)
        stem = f"{name.replace('-', '_')}_tiny"
        file = target / f"{stem}-{sha256[:8]}.safetensors"
        target.mkdir(exist_ok=True)
        for old in target.glob(f"{stem}-*.safetensors"):
            old.unlink()
        shutil.copyfile(weights, file)
        path = target / INDEX
        index = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        index[name] = {"file": file.name, "sha256": sha256}
        write_json(path, dict(sorted(index.items())))
        write_bytes(target / f"{stem}.md", card(name, run, file, sha256).encode())
        sys.stderr.write(f"{name}: {file.relative_to(ROOT)}\n")


def card(name: str, run: Path, file: Path, sha256: str) -> str:
    """What there is to know of published weights, from the run's own files."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    config = summary["config"]
    data, settings = config["data"], config["settings"]
    stages = _stages(TRACK[name], run)
    source = data["source"]
    pools = ", ".join(
        f"{pool['count']:,} {pool['source']}"
        for part in source.get("sources", [source])
        for pool in part["pools"]
    )
    rows = {
        "File": f"`{file.name}`, {file.stat().st_size:,} bytes, half precision, upstream's keys",
        "SHA-256": f"`{sha256}`",
        "Parameters trained": f"{summary['parameters']:,}",
        "Licence": "Apache-2.0",
        "Training data": f"procedural images only: {pools}; no photograph, no patient",
        "Steps": f"{_by_stage(stages, 'steps', 1)} of {data['batch_size']} images of "
        f"{data['side']} px, the last ones whole images of {data['whole_side']} px",
        "Minutes": f"{_by_stage(stages, 'seconds', 60)} on {summary['threads']} CPU thread(s), "
        f"torch {summary['torch']}",
        "Weights": f"running mean over the steps, decay {settings['ema_decay']}",
        "Seed": str(settings["seed"]),
        "Command": f"`medbench train {TRACK[name].preset}`",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return (
        f"# {name}@tiny\n\nA small configuration of the published architecture, trained on the "
        "controlled track: the same data,\nsteps and batch as every other `@tiny`. It compares "
        "designs and is no substitute for the published\nnetwork.\n\n| | |\n|---|---|\n"
        f"{table}\n\n## On held-out procedural images\n\n{_validation(run)}\n\n"
        "The complete configuration:\n\n```json\n"
        f"{json.dumps(config, indent=1)}\n```\n"
    )


def _stages(member: Member, run: Path) -> dict[str, dict[str, Any]]:
    """The summaries of the stages up to the member's own, by name; the name is empty for one."""
    if not member.stage:
        return {"": json.loads((run / "summary.json").read_text(encoding="utf-8"))}
    names = [stage.name for stage in presets()[member.preset].stages()]
    names = names[: names.index(member.stage) + 1]
    files = {name: run.parent / name / "summary.json" for name in names}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}


def _by_stage(stages: dict[str, dict[str, Any]], key: str, unit: float) -> str:
    found = {
        name: s[key] / unit for name, s in stages.items() if (key, name) != ("steps", "teacher")
    }
    return " + ".join(f"{value:,.0f} {name}".strip() for name, value in found.items())


def _validation(run: Path) -> str:
    path = run / "validation.jsonl"
    if not path.exists():
        return "Not validated."
    lines = path.read_text(encoding="utf-8").splitlines()
    last: dict[str, Any] = json.loads(lines[-1])
    groups = sorted({key.partition("/")[2] for key in last if "/" in key})
    head = "| | " + " | ".join(["macro", *groups]) + " |"
    rows = [head, "|---" * (len(groups) + 2) + "|"]
    for metric, digits in (("psnr", 2), ("ssim", 3)):
        values = [last[metric], *(last[f"{metric}/{group}"] for group in groups)]
        rows.append(f"| {metric} | " + " | ".join(f"{v:.{digits}f}" for v in values) + " |")
    if "usage" in last:
        rows.append(f"\nShare of all codes that were taken: {last['usage']:.3f}.")
    return "\n".join(rows)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("train", "publish"))
    parser.add_argument("names", nargs="*", default=list(TRACK), metavar="NAME")
    parser.add_argument("--folder", type=Path, default=Path("runs/controlled"))
    parser.add_argument("--minutes", type=float, default=55.0, help="stop after so long (55)")
    asked = parser.parse_args()
    if wrong := set(asked.names) - set(TRACK):
        parser.error(f"unknown: {', '.join(sorted(wrong))}; known: {', '.join(TRACK)}")
    if asked.verb == "publish":
        publish(asked.names, asked.folder)
    elif train(asked.names, asked.folder, asked.minutes):
        sys.stderr.write("all is trained\n")
    else:
        sys.stderr.write("time is over: call this again to go on\n")


if __name__ == "__main__":
    main()
