"""The site in a real browser, from file://: nothing leaves the page, everything works by keyboard.

Needs Chromium and the package playwright; the accessibility scan also axe-core, whose file the
environment variable MEDBENCH_AXE names.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from medbench.leaderboard.site.build import build_site

pytestmark = pytest.mark.slow

PAGES = (
    *("index", "task/recon", "task/probe", "compare", "reproductions", "changes", "submit"),
    *("about", "board/recon-medsynth-*", "board/recon-folder-mine-*", "board/probe-*"),
    *("run/recon-medsynth-alpha*", "run/recon-folder-mine*alpha*", "tokenizer/meditok@tiny"),
    *("dataset/medsynth", "dataset/folder-mine-*"),
)
"""One of every kind, each by its pattern."""


@pytest.fixture
def open_page(opener, site):
    """open_page("index.html", javascript=…, query=…): a page that fails on any complaint."""
    return opener(site)


def page_of(site, pattern) -> str:
    """Path of the first page of a pattern."""
    return min(site.glob(f"{pattern}.html")).relative_to(site).as_posix()


def names(page, table="table-2"):
    """Names of the visible rows of a table, in order."""
    return page.eval_on_selector_all(
        f"#{table} tbody tr:not([hidden])", "rows => rows.map(row => row.dataset.row)"
    )


@pytest.mark.parametrize("pattern", PAGES)
def test_pages_open_dark_and_light_and_at_360_pixels_without_a_complaint(
    open_page, site, pattern, looks_right
):
    looks_right(open_page(page_of(site, pattern)))


def test_a_long_name_of_a_dataset_widens_no_page(opener, record_data, store, tmp_path, looks_right):
    union = "union:" + ",".join(f"npz@{group}:{group}_256_derived.npz" for group in "abcdefgh")
    for name in ("alpha", "beta"):
        data = record_data(name)
        data["dataset"]["id"] = union
        store(tmp_path / "results", data)
    site = build_site(tmp_path / "results", tmp_path / "site").output
    for path in sorted(site.rglob("*.html")):
        looks_right(opener(site)(path.relative_to(site).as_posix()))


def test_sorting_by_mouse_goes_best_first_then_back(open_page, board):
    page = open_page(board)
    before = names(page)
    button = page.locator("#table-2 th[data-key=psnr] button")
    button.click()
    assert names(page)[:3] == ["latent@v", "alpha@v", "beta@v"]
    assert page.locator("#table-2 th[data-key=psnr]").get_attribute("aria-sort") == "descending"
    button.click()
    assert names(page)[0] == "poor@v"
    button.click()
    assert names(page) == before


def test_sorting_by_keyboard_and_rows_without_a_value_last(open_page, board):
    page = open_page(board)
    page.locator("#table-2 th[data-key=bits] button").focus()
    page.keyboard.press("Enter")
    assert names(page)[0] == "gamma@v"
    assert names(page)[-1] == "mean@v"
    page.keyboard.press("Space")
    assert names(page)[0] == "latent@v"
    assert names(page)[-1] == "mean@v"


def test_a_slash_focuses_the_search_and_typing_filters(open_page, board):
    page = open_page(board)
    page.keyboard.press("/")
    page.keyboard.type("alpha")
    assert names(page) == ["alpha@v"]
    assert "q=alpha" in page.url
    assert "rows" in page.locator(".count").inner_text()


def test_the_state_of_a_view_is_in_its_address(open_page, board):
    first = open_page(board)
    first.select_option("select[name=kind]", "discrete")
    first.fill("input[name=bits]", "0.3")
    first.select_option("select[name=group]", "ct")
    first.locator("#table-2 th[data-key=ssim] button").click()
    first.locator("[data-menu=columns] summary").click()
    first.locator("[data-menu=columns] input[value=licence]").uncheck()
    again = open_page(board, query="?" + first.url.partition("?")[2])
    assert names(again) == names(first) == ["alpha@v", "gamma@v"]
    assert again.locator("#table-2 th[data-key=licence]").is_hidden()
    assert again.locator("#table-2 th[data-key=ssim]").get_attribute("aria-sort") == "descending"
    assert again.input_value("select[name=group]") == "ct"


def test_a_range_of_rates_keeps_the_references(open_page, board):
    page = open_page(board)
    page.fill("input[name=from]", "0.2")
    page.fill("input[name=bits]", "0.3")
    assert sorted(names(page)) == ["alpha@v", "mean@v"]
    assert "from=0.2" in page.url
    again = open_page(board, query="?" + page.url.partition("?")[2])
    assert sorted(names(again)) == ["alpha@v", "mean@v"]


def test_networks_for_another_size_can_be_left_out(open_page, board):
    page = open_page(board)
    page.select_option("select[name=size]", "512")
    assert sorted(names(page)) == ["beta@v", "mean@v"]


def test_a_preset_answers_for_a_modality_a_budget_and_commercial_use(open_page, board):
    page = open_page(board)
    page.locator("[data-preset]", has_text="commercial use").first.click()
    shown = names(page)
    assert "alpha@v" in shown
    assert not {"gamma@v", "latent@v"} & set(shown)
    assert "use=commercial" in page.url
    assert "group=" in page.url
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("!location.search")
    assert len(names(page)) == 7


def test_values_of_a_group_replace_the_overall_ones_and_come_back(open_page, board, site):
    page = open_page(board)
    cell = page.locator("#table-2 tr[data-row='alpha@v'] td.m").nth(1)
    overall = cell.inner_text()
    page.select_option("select[name=group]", "fundus")
    assert cell.inner_text() != overall
    assert page.locator("#table-2 tr[data-row='alpha@v'] td.rank").inner_text() == "–"
    page.select_option("select[name=group]", "")
    assert cell.inner_text() == overall


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_the_view_can_be_copied(open_page, board, form):
    page = open_page(board)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.fill("input[name=q]", "meditok@tiny")
    page.locator("[data-menu=copy] summary").click()
    page.locator(f"[data-copy={form}]").click()
    page.wait_for_function("document.querySelector('.count').textContent.includes('copied')")
    lines = page.evaluate("navigator.clipboard.readText()").strip().split("\n")
    expected = {"markdown": 3, "latex": 7, "csv": 2}[form]
    assert len([line for line in lines if line]) == expected or form == "latex"
    assert any("meditok@tiny" in line and "24.00" in line for line in lines)
    columns = {"markdown": "|", "latex": "&", "csv": ","}[form]
    body = [line for line in lines if line.count(columns) > 5]
    assert len({line.count(columns) for line in body}) == 1


def test_downloads_are_files_of_the_site(open_page, board):
    page = open_page(board)
    for kind in ("CSV", "Parquet"):
        with page.expect_download() as download:
            page.get_by_role("link", name=kind, exact=True).click()
        assert Path(download.value.path()).stat().st_size > 1000
    # On file:// the browser shows what it can show.
    page.get_by_role("link", name="JSON", exact=True).click()
    page.wait_for_url("**/data/*.json")
    assert '"alpha@v"' in page.content()


def test_rows_are_compared_with_the_differences_that_the_library_finds(open_page, board, results):
    from medbench.harness.record_files import read_results
    from medbench.leaderboard.pairs import paired_difference

    page = open_page(board)
    for name in ("alpha@v", "beta@v"):
        page.get_by_label(f"Select {name} to compare").nth(-1).check()
    page.get_by_role("button", name="Compare selected (2)").click()
    page.wait_for_selector(".compare-result table")
    assert "alpha%40v%2Cbeta%40v" in page.url
    record = {
        r.full_name: r
        for r in read_results(results).records
        if r.task == "recon" and r.dataset.id == "medsynth"
    }
    found = paired_difference(record["beta@v"], record["alpha@v"], "psnr", "macro")
    cell = page.locator(".compare-result tbody tr", has_text="beta@v").locator("td").nth(3)
    assert cell.get_attribute("title") == (f"95 % interval {found.low:.2f} to {found.high:.2f}")
    assert cell.inner_text().split("\n")[0] == f"{found.value:.2f}"
    assert page.locator(".compare-result svg").count() >= 1
    assert page.locator(".compare-result .contact img").count() > 4


def test_the_slider_moves_by_keyboard_and_by_pointer(open_page, site):
    page = open_page(page_of(site, "run/recon-medsynth-alpha*"))
    slider = page.locator("[type=range]").first
    clip = "document.querySelector('.after').style.clipPath"
    start = page.evaluate(clip)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(clip) != start
    box = page.locator(".before-after").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20)
    page.mouse.down()
    page.mouse.up()
    assert 85 <= float(slider.input_value()) <= 95
    button = page.get_by_role("button", name="error map").first
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert page.locator(".before-after .error").first.is_visible()


def test_tabs_change_by_arrow_keys(open_page, board):
    page = open_page(board)
    tab = page.get_by_role("tab").first
    tab.focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab").nth(1).get_attribute("aria-selected") == "true"
    assert page.locator(".tab:visible").count() == page.locator("[data-tabs]").count()


def test_a_row_lights_up_in_the_plots(open_page, board):
    page = open_page(board)
    page.locator("#table-2 tr[data-row='alpha@v'] td").nth(3).hover()
    assert page.locator("svg .lit").count() > 0


def test_without_a_script_tables_are_complete_and_nothing_dead_is_shown(open_page, board):
    page = open_page(board, javascript=False)
    assert page.locator("#table-2 tbody tr").count() == 7
    assert (
        page.locator("#table-2 thead th:visible").count()
        == page.locator("#table-2 thead th").count()
    )
    assert page.locator("form.filters:visible").count() == 0
    assert page.locator(".tab:visible").count() == page.locator(".tab").count()
    compare = open_page("compare.html", javascript=False)
    assert compare.locator(".no-js a").count() >= 3


def test_the_overviews_question_leads_to_a_filtered_board(open_page):
    page = open_page("index.html")
    page.fill("form[data-find] input[name=bits]", "0.3")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/board/*.html?*bits=0.3*")
    assert page.input_value("input[name=bits]") == "0.3"


def test_printed_pages_leave_out_what_cannot_be_printed(open_page, board):
    page = open_page(board)
    page.emulate_media(media="print")
    assert page.locator("form.filters").is_hidden()
    assert page.locator("#table-2").is_visible()
    assert page.locator(".tab:visible").count() == page.locator(".tab").count()


@pytest.mark.parametrize("pattern", PAGES)
def test_the_accessibility_scan_finds_nothing_serious(open_page, site, pattern, serious_findings):
    assert serious_findings(open_page(page_of(site, pattern))) == {}
