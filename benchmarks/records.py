"""How fast thousands of records load, and how much memory they take.

    python benchmarks/records.py [RECORDS]

Records are copies of a real one under other names: 50 cells for each tokenizer, every fifth of
them with nine modalities, the others with one, as a board of many data sets has.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

TEMPLATE = Path(__file__).parent.parent / "tests" / "records" / "v1_recon.json"
CELLS = 50


def write_records(folder: Path, count: int) -> None:
    """`count` record files in the layout of `medbench run`."""
    whole = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    narrow = _of_one_modality(whole)
    for number in range(count):
        tokenizer, cell = divmod(number, CELLS)
        data = whole if cell % 5 == 0 else narrow
        name, dataset_id = f"tokenizer-{tokenizer:03}", f"set-{cell:02}"
        data["tokenizer"] = data["info"]["name"] = name
        data["dataset"]["id"] = dataset_id
        path = folder / "recon" / dataset_id / f"{name}@tiny" / "00000000.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data), encoding="utf-8")


def _of_one_modality(whole: dict) -> dict:
    data = json.loads(json.dumps(whole))
    replicates = {m["name"]: m["replicates"] for m in data["metrics"] if m["replicates"]}
    data["metrics"] = [m for m in data["metrics"] if m["group"] in ("all", "ct")]
    for metric in data["metrics"]:
        if metric["group"] == "all":
            metric["replicates"] = replicates.get(metric["name"])
    data["dataset"]["groups"] = {"ct": data["dataset"]["n"]}
    return data


def main(count: int) -> None:
    """Write, load, print."""
    from medbench.harness.record_files import read_results

    with tempfile.TemporaryDirectory() as folder:
        write_records(Path(folder), count)
        written = sum(path.stat().st_size for path in Path(folder).rglob("*.json"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun, begun_cpu = time.perf_counter(), time.process_time()
        found = read_results(folder)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{len(found.stored)} records ({written / 2**20:.0f} MiB), {len(found.problems)} problems: "
        f"{seconds:.1f} s ({cpu:.1f} s CPU), peak {peak / 1024:.0f} MiB "
        f"({(peak - before) / max(count, 1):.0f} KiB a record)"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
