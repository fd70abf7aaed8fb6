"""Time and memory of a site of many records, the size of its overview, and when pages show first.

Records are made from one real record: other names, rates and values (with their resamples moved
along), on as many data sets as asked for. Pictures are left out: their cost is one's own images.

    python benchmarks/site.py [--tokenizers 200] [--cells 50] [--keep FOLDER]

First paints are measured where Playwright and a Chromium (on the PATH) are installed.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from medbench.harness.record import Identity
from medbench.harness.record_files import record_path
from medbench.leaderboard.site.build import build_site

TEMPLATE = Path(__file__).parent.parent / "tests" / "records" / "v1_recon.json"


def main() -> None:
    """Make the records, build the site, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizers", type=int, default=200)
    parser.add_argument("--cells", type=int, default=50)
    parser.add_argument("--template", type=Path, default=TEMPLATE, help="a real record")
    parser.add_argument("--keep", type=Path, help="where records and site stay")
    parser.add_argument("--processes", type=int, help="as many as cores where not given")
    options = parser.parse_args()
    if options.keep:
        measure(options, options.keep)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Print the figures of one build."""
    results = folder / "results"
    if not results.exists():
        template = json.loads(options.template.read_text(encoding="utf-8"))
        for tokenizer in range(options.tokenizers):
            for cell in range(options.cells):
                write(results, template, tokenizer, cell)
    started, before = time.perf_counter(), _cpu()
    report = build_site(results, folder / "site", processes=options.processes)
    seconds, cpu = time.perf_counter() - started, _cpu() - before
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    index = (folder / "site" / "index.html").read_bytes()
    print(f"{report.records} records, {report.boards} boards, {report.pages} pages")
    print(f"build: {seconds:.1f} s, {cpu:.1f} s of CPU in all processes")
    print(f"peak memory: {own / 1024:.0f} MiB, largest worker {child / 1024:.0f} MiB")
    print(f"index: {len(index) / 1e3:.0f} kB, compressed {len(gzip.compress(index)) / 1e3:.0f} kB")
    board = min((folder / "site" / "board").glob("*.html"))
    for page in (folder / "site" / "index.html", board):
        found = first_paint(page)
        size = page.stat().st_size / 1e3
        said = "no browser" if found is None else f"{found:.0f} ms"
        print(f"first paint of {page.parent.name}/{page.name} ({size:.0f} kB): {said}")


def first_paint(page: Path) -> float | None:
    """Milliseconds from opening a file to the first paint of its content; None: no browser."""
    browser = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if browser is None:
        return None
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = started.new_page()
        tab.goto(page.as_uri(), wait_until="load")
        seen = "performance.getEntriesByName('first-contentful-paint').length > 0"
        tab.wait_for_function(seen)
        return tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")


def _cpu() -> float:
    """Seconds of this process and of those that ended, kernel included."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def write(results: Path, template: dict[str, Any], tokenizer: int, cell: int) -> None:
    """One record of a made-up tokenizer on a made-up data set."""
    name, dataset = f"tokenizer{tokenizer:03d}", f"set{cell:02d}"
    fingerprint = hashlib.sha256(dataset.encode()).hexdigest()
    moved = 3.0 * _share(name) + 0.4 * _share(name + dataset)
    bits = float(4096 * (1 + tokenizer % 40))
    data = template | {"tokenizer": name, "gallery": [], "per_image": None}
    data["info"] = template["info"] | {"name": name, "bits_per_image": bits}
    data["dataset"] = template["dataset"] | {"id": dataset, "fingerprint": fingerprint}
    data["identity"] = template["identity"] | {"data_fingerprint": fingerprint}
    data["metrics"] = [_metric(metric, moved, bits) for metric in template["metrics"]]
    key8 = Identity(**data["identity"]).key8
    path = record_path(
        results,
        task=data["task"],
        dataset_id=dataset,
        tokenizer=f"{name}@{data['variant']}",
        key8=key8,
    )
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _share(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def _metric(metric: dict[str, Any], moved: float, bits: float) -> dict[str, Any]:
    if metric["name"] == "bits_per_pixel":
        return metric | {"value": bits / 65536}
    if metric["value"] is None or metric["name"] not in ("psnr", "ssim", "ms_ssim"):
        return metric
    scale, by = (1.0, moved) if metric["name"] == "psnr" else (1 - moved / 20, 0.0)
    made = {key: metric[key] * scale + by for key in ("value", "low", "high") if metric[key]}
    if metric.get("replicates"):
        made["replicates"] = [float(f"{value * scale + by:.7g}") for value in metric["replicates"]]
    return metric | made


if __name__ == "__main__":
    main()
