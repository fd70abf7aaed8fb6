"""What medbench survives: faults are injected into real runs, and losses are counted.

python benchmarks/endurance [--only NAME] [--seed 0] [--keep FOLDER] [--update docs/endurance.md]
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import bad_places
import clock
import flips
import full_disk
import killed
import memory
import several_ranks
import together
from fault import Fault, Outcome, Place
from images import make_data
from job import Job, Scene, run
from judge import Finished, differences, facts_of
from places import CannotMount
from tabulate import tabulate

MODULES = (killed, several_ranks, full_disk, clock, together, bad_places, memory, flips)
FAULTS = {fault.name: fault for module in MODULES for fault in module.FAULTS}
_SHIM = "endurance-shim.so"
_BEGIN, _END = "<!-- endurance:begin -->", "<!-- endurance:end -->"


@dataclass(frozen=True, slots=True)
class Row:
    """A fault with what came of it."""

    fault: Fault
    outcome: Outcome
    seconds: float


def _undisturbed(root: Path, data: Path) -> Callable[[Job], Finished]:
    """Runs a job as it is meant to be, once."""

    @cache
    def reference(job: Job) -> Finished:
        scene = Scene(data, root / job.name / "out", root / job.name / "cache", {})
        clock = root / job.name / "seconds.txt"
        with _alone(root / f"{job.name}.lock"):
            if not clock.exists():
                begun = time.monotonic()
                end = run(job, scene)
                if end.code != 0:
                    message = f"{job.name} fails undisturbed: {end.errors}"
                    raise SystemExit(message)
                clock.write_text(str(time.monotonic() - begun))
        facts = facts_of(job.name, scene.out, scene.cache)
        if problems := differences(job.name, scene.out, scene.cache, facts):
            message = f"{job.name}, undisturbed: {problems}"
            raise SystemExit(message)
        return Finished(facts, float(clock.read_text()), scene.out, scene.cache)

    return reference


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Several of these commands may share a folder that is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _has_shim() -> bool:
    return os.environ.get("LD_PRELOAD", "").endswith(_SHIM)


def _begin_again_with_shim() -> None:
    """Begin this process again with `shim.c` under it, where there is a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if _has_shim() or compiler is None or sys.platform != "linux":
        return
    target = Path(tempfile.mkdtemp(prefix="endurance-")) / _SHIM
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", source, "-o", target, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(target), "OMP_NUM_THREADS": "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def inject(faults: Sequence[Fault], root: Path, *, seed: int) -> list[Row]:
    """Inject faults one after the other, each in a folder of its own."""
    with _alone(root / "data.lock"):
        if not (root / "data").exists():
            make_data(root / "data")
    reference = _undisturbed(root / "undisturbed", root / "data")
    rows = []
    for fault in faults:
        folder = root / fault.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        chance = random.Random(f"{seed} {fault.name}")
        place = Place(folder, chance, root / "data", _has_shim(), reference)
        begun = time.monotonic()
        try:
            outcome = fault.inject(place)
        except CannotMount as error:
            outcome = Outcome(skipped=f"cannot mount: {error}")
        rows.append(Row(fault, outcome, time.monotonic() - begun))
        print(_line(rows[-1]), flush=True)
        for loss in outcome.losses:
            print(f"  LOST {loss}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def _line(row: Row) -> str:
    found = row.outcome
    counts = found.skipped or (
        f"{found.injected} injected, {found.recovered} recovered, {len(found.losses)} losses"
    )
    return f"{row.fault.name}: {counts}, {row.seconds:.0f} s"


def cells(rows: Sequence[Row]) -> dict[str, list[str]]:
    """A line of the table for each row, by name."""
    return {
        row.fault.name: [
            f"`{row.fault.name}`",
            row.fault.what,
            row.outcome.skipped or str(row.outcome.injected),
            str(row.outcome.recovered),
            str(len(row.outcome.losses)),
            str(round(row.seconds)),
        ]
        for row in rows
    }


def table(lines: Mapping[str, Sequence[str]]) -> str:
    """The lines as Markdown, with their sum."""
    columns = zip(*(line[2:] for line in lines.values()), strict=True)
    sums = [sum(int(cell) for cell in column if cell.isdigit()) for column in columns]
    headers = ["fault", "what is done", "injected", "recovered", "losses", "seconds"]
    return tabulate([*lines.values(), ["all", "", *sums]], headers=headers, tablefmt="github")


def with_earlier(page: Path, lines: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """These lines, and those of a page's other faults, in the order of the faults."""
    block = page.read_text(encoding="utf-8").partition(_BEGIN)[2].partition(_END)[0]
    rows = [line.strip("| ").split("|") for line in block.splitlines() if line.startswith("| `")]
    known = {row[0].strip(" `"): [cell.strip() for cell in row] for row in rows} | {**lines}
    return {name: known[name] for name in FAULTS if name in known}


def update(page: Path, text: str) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}", encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="work here; undisturbed runs are used again")
    parser.add_argument("--update", type=Path, help="page whose marked block gets these rows")
    options = parser.parse_args()
    _begin_again_with_shim()
    faults = [fault for name, fault in FAULTS.items() if name in (options.only or FAULTS)]
    work = partial(inject, faults, seed=options.seed)
    if options.keep is not None:
        rows = work(options.keep.resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="endurance-") as folder:
            rows = work(Path(folder))
    lines = cells(rows)
    print(f"\n{table(lines)}")
    if options.update is not None:
        update(options.update, table(with_earlier(options.update, lines)))
    if any(row.outcome.losses for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
