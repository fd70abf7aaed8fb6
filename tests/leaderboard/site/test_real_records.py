"""The site of real runs of every task, page by page in a real browser."""

from __future__ import annotations

import subprocess
import sys

import pytest

from medbench.leaderboard.site.build import build_site

pytestmark = pytest.mark.slow

RUNS = {
    "recon": ("--tokenizer", "jpeg", "--limit", "4", "--retention"),
    "probe": ("--tokenizer", "pixels", "--limit", "8"),
    "synthesis": ("--preset", "small.yaml"),
    "vqa": ("--preset", "smoke"),
}
"""By task: what is asked beside two networks."""

SMALL = """
extends: smoke
network: {dim: 32, n_layer: 1}
steps: 3
optimiser: {warmup_steps: 0}
samples: 4
seeds: 2
classifier_steps: 3
"""
"""A preset of synthesis: its pages are looked at, not its samples."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Records of two networks on all four tasks, and the site of them."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "small.yaml").write_text(SMALL, encoding="utf-8")
    for task, words in RUNS.items():
        command = [sys.executable, "-m", "medbench", "run", "--task", task, *words]
        command += ["--tokenizer", "meditok@tiny", "--tokenizer", "meditok-s1@tiny"]
        subprocess.run([*command, "--output", "results"], check=True, cwd=folder)
    report = build_site(folder / "results", folder / "site")
    assert report.problems == []
    return report.output


def pages(site):
    """Every page, of the whole site."""
    found = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    assert {name.split("-")[0] for name in found if name.startswith("run/")} == {
        f"run/{task}" for task in RUNS
    }
    return found


def test_every_page_opens_dark_and_light_and_at_360_pixels(opener, site, looks_right):
    for name in pages(site):
        page = opener(site)(name)
        looks_right(page)
        page.context.close()


def test_the_accessibility_scan_finds_nothing_serious_on_any_page(opener, site, serious_findings):
    found = {}
    for name in pages(site):
        page = opener(site)(name)
        found |= {(name, *rule): said for rule, said in serious_findings(page).items()}
        page.context.close()
    assert found == {}


def test_every_page_is_complete_without_a_script(opener, site):
    for name in pages(site):
        page = opener(site)(name, javascript=False)
        table = "main table:not(details table)"
        assert page.locator(f"{table}:visible").count() == page.locator(table).count(), name
        page.context.close()
