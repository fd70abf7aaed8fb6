from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.harness.errors import UsageError
from medbench.harness.record import SHEET_OF_SAMPLES
from medbench.leaderboard.site.build import build_site

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Page(HTMLParser):
    """Links, anchors and open elements of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.open, self.bad = [], set(), [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        if (name := facts.get("id")) is not None:
            self.bad += [f"id {name} twice"] if name in self.ids else []
            self.ids.add(name)
        self.links += [facts[key] for key in ("href", "src") if key in facts]
        self.bad += [f"<{tag} {key}>" for key in facts if key == "style" or key.startswith("on")]
        if tag == "script" and "src" not in facts:
            self.bad.append("inline script")
        if tag == "style":
            self.bad.append("inline style")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.bad.append(f"</{tag}> out of order")


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_the_same_records_give_the_same_bytes(results, site, tmp_path):
    again = build_site(results, tmp_path / "again").output
    assert contents(again) == contents(site)


def test_bytes_do_not_depend_on_the_number_of_processes(results, site, tmp_path):
    again = build_site(results, tmp_path / "two", processes=2).output
    assert contents(again) == contents(site)


def test_bytes_do_not_depend_on_where_the_results_lie(results, site, tmp_path):
    moved = tmp_path / "elsewhere" / "r"
    shutil.copytree(results, moved)
    assert contents(build_site(moved, tmp_path / "site").output) == contents(site)


def test_the_site_holds_the_records_that_it_was_built_from(results, site):
    kept = sorted(p.read_bytes() for p in (site / "data" / "records").rglob("*.json"))
    assert kept == sorted(p.read_bytes() for p in results.glob("*/*/*/*.json"))


def test_the_records_of_a_site_give_its_values_again(site, tmp_path):
    again = build_site(site / "data" / "records", tmp_path / "again").output
    tables = {path.name: path.read_bytes() for path in (site / "data").glob("*.csv")}
    assert len(tables) == 3
    assert {path.name: path.read_bytes() for path in (again / "data").glob("*.csv")} == tables


def test_every_link_leads_to_a_file_and_every_anchor_to_an_id(site):
    pages = {p: Page(p.read_text(encoding="utf-8")) for p in site.rglob("*.html")}
    assert len(pages) > 30
    for path, page in pages.items():
        for link in page.links:
            target, _, anchor = link.partition("#")
            target = target.partition("?")[0]
            assert not re.match(r"[a-z]+:|//", link), f"{path.name} leaves the site: {link}"
            file = (path.parent / target).resolve() if target else path
            assert file.is_file(), f"{path.name}: {link}"
            if anchor and file.suffix == ".html":
                assert anchor in pages[file].ids, f"{path.name}: {link}"


def test_pages_are_well_formed_without_inline_scripts_or_styles(site):
    for path in site.rglob("*.html"):
        page = Page(path.read_text(encoding="utf-8"))
        assert page.bad == [], path.name
        assert page.open == [], path.name


@pytest.mark.parametrize(
    "page",
    ["index", "task/recon", "task/probe", "compare", "reproductions", "changes", "submit", "about"],
)
def test_every_kind_of_page_is_there_and_says_what_it_is_not_for(site, page):
    text = (site / f"{page}.html").read_text(encoding="utf-8")
    assert "not evidence of diagnostic safety" in text
    assert 'lang="en"' in text
    assert "unsafe-inline" not in text


def test_from_every_board_row_the_evidence_is_one_click_away(site, board):
    page = Page((site / board).read_text(encoding="utf-8"))
    runs = [link for link in page.links if "/run/" in link and "#" not in link]
    assert len(runs) >= 8
    text = (site / board).parent.joinpath(runs[0]).resolve().read_text(encoding="utf-8")
    for needed in ("medbench run", "Commit", "Device", "psnr-rgb-u8-1", "Data fingerprint"):
        assert needed in text


def test_a_folder_that_is_no_site_is_not_replaced(results, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not empty and not a site"):
        build_site(results, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_site_that_is_there_is_replaced_whole(results, tmp_path):
    first = build_site(results, tmp_path / "site").output
    (first / "run" / "old.html").write_text("stale")
    build_site(results, first)
    assert not (first / "run" / "old.html").exists()


@pytest.mark.parametrize("make", [lambda folder: None, Path.mkdir])
def test_without_records_the_message_says_how_to_make_some(tmp_path, make):
    make(tmp_path / "results")
    with pytest.raises(UsageError, match="medbench run"):
        build_site(tmp_path / "results", tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_board_shows_the_sheets_of_samples_class_by_class(record_data, store, tmp_path):
    classes = {"alpha": ["ct"], "beta": ["ct", "fundus"], "gamma": []}
    for name, shown in classes.items():
        path = store(tmp_path / "results", record_data(name))
        data = json.loads(path.read_text(encoding="utf-8"))
        for number, group in enumerate(shown):
            file = f"{path.stem}.gallery/class-{number:02d}.png"
            (path.parent / file).parent.mkdir(exist_ok=True)
            grey = np.full((48, 128, 3), 40 * number + len(name), dtype=np.uint8)
            Image.fromarray(grey).save(path.parent / file)
            entry = {"id": f"class {group}", "group": group, "file": file, "why": SHEET_OF_SAMPLES}
            data["gallery"].append(entry)
        path.write_text(json.dumps(data), encoding="utf-8")
    site = build_site(tmp_path / "results", tmp_path / "site").output
    (page,) = (site / "board").glob("recon-*.html")
    _, pictures = page.read_text(encoding="utf-8").split("<h2>Pictures</h2>")
    assert re.findall('data-tab="(.*?)"', pictures) == ["ct", "fundus"]
    ct, fundus = pictures.split('data-tab="fundus"')
    shown = r"samples of (\S+) below"
    assert re.findall(shown, ct) == ["alpha@v", "beta@v"]
    assert re.findall(shown, fundus) == ["beta@v"]
    for image in re.findall('<img class="single" src="(.*?)"', pictures):
        assert (page.parent / image).resolve().is_file()
