"""The static site as a pure function of the records: no clock, no network, no randomness."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ...harness.errors import UsageError
from ...harness.progress import track
from ...harness.record_files import Problem
from ..trust import read_marks
from .catalogue import Catalogue
from .folder import Built, Source, build_folder
from .gallery import colour_bar
from .load import folders
from .page_changes import write_changes
from .page_dataset import write_dataset
from .page_index import write_index
from .page_reproductions import write_reproductions
from .page_static import write_static
from .page_task import write_task
from .page_tokenizer import results_by_tokenizer, write_tokenizer
from .render import FOLDER, Site
from .views import Board

MARKER = "data/site.json"
"""Its presence says that a folder is a built site, which a new build may replace."""


_FEW_RECORDS = 300
_MOST_PROCESSES = 4
"""Each holds the records of one folder: 200 of them are some 60 MB."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build made, and what it left out."""

    output: Path
    pages: int
    records: int
    boards: int
    problems: list[Problem] = field(default_factory=list)


def build_site(results: Path, output: Path, *, processes: int | None = None) -> BuildReport:
    """Build the site of all records below `results` into the folder `output`.

    A site that is there is replaced; any other folder with content is refused. Records that
    cannot be shown are left out and reported.

    Args:
        results: what `medbench run` wrote.
        output: the site's folder.
        processes: how many folders of results are built at a time; None: one for few records, as
            many as cores (at most four) for many. The site's bytes do not depend on it.

    Raises:
        UsageError: no records, or `output` is a folder that is not a site.
    """
    results, output = Path(results), Path(output)
    if not results.is_dir():
        message = f"no results directory {results}. Make one with: medbench run"
        raise UsageError(message)
    _check_place(output)
    found = folders(results)
    if not found:
        message = f"{results} holds no records. Make some with: medbench run --task recon"
        raise UsageError(message)
    building = output.with_name(f".{output.name}.part")
    shutil.rmtree(building, ignore_errors=True)
    try:
        report = _build(results, Site(building), found, output, processes)
        shutil.rmtree(output, ignore_errors=True)
        building.replace(output)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return report


def _check_place(output: Path) -> None:
    if output.is_dir() and any(output.iterdir()) and not (output / MARKER).is_file():
        message = (
            f"{output} is not empty and not a site that medbench built: choose another --output, "
            "or empty it"
        )
        raise UsageError(message)
    if output.exists() and not output.is_dir():
        message = f"{output} is a file; a site needs a folder"
        raise UsageError(message)


def _build(
    results: Path, site: Site, found: list[list[Path]], output: Path, processes: int | None
) -> BuildReport:
    colour_bar(site)
    for path in sorted((FOLDER / "static").iterdir()):
        site.write(f"static/{path.name}", path.read_bytes())
    built = _build_folders(site, Source(results, read_marks(results)), found, processes)
    boards = sorted((b for item in built for b in item.boards), key=lambda b: b.name)
    problems = sorted((p for item in built for p in item.problems), key=lambda p: str(p.path))
    pictures = {run: some for item in built for run, some in item.pictures.items()}
    texts = [str(problem).replace(f"{results}/", "") for problem in problems]
    _write_overview(site, Catalogue(boards, pictures, texts), results)
    pages = sum(1 for _ in site.root.rglob("*.html"))
    return BuildReport(output, pages, sum(i.records for i in built), len(boards), problems)


def _build_folders(
    site: Site, source: Source, found: list[list[Path]], processes: int | None
) -> list[Built]:
    """Every folder's pages; in other processes where there is much to do."""
    if processes is None:
        records = sum(map(len, found))
        processes = min(os.cpu_count() or 1, _MOST_PROCESSES) if records > _FEW_RECORDS else 1
    label = "building pages"
    if processes == 1:
        return [
            build_folder(site, source, paths)
            for paths in track(found, total=len(found), label=label)
        ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        jobs = [pool.submit(build_folder, site, source, paths) for paths in found]
        return [job.result() for job in track(jobs, total=len(jobs), label=label)]


def _write_overview(site: Site, catalogue: Catalogue, results: Path) -> None:
    """The pages that look at more than one folder of results."""
    write_index(site, catalogue)
    for task in catalogue.tasks:
        write_task(site, catalogue, task)
    for name, held in results_by_tokenizer(catalogue).items():
        write_tokenizer(site, catalogue, name, held)
    datasets: dict[str, list[Board]] = {}
    for board in catalogue.boards:
        datasets.setdefault(board.dataset, []).append(board)
    for boards in datasets.values():
        write_dataset(site, boards)
    write_changes(site, catalogue)
    write_reproductions(site, results)
    write_static(site, catalogue)
    facts = {
        "boards": [board.name for board in catalogue.boards],
        "newest": catalogue.newest,
        "problems": list(catalogue.problems),
    }
    site.write(MARKER, (json.dumps(facts, indent=1) + "\n").encode("utf-8", errors="replace"))
