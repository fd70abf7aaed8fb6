from __future__ import annotations

import pytest

from medbench.__main__ import invoke
from medbench.harness.errors import UsageError
from medbench.harness.record_files import write_record
from medbench.leaderboard.boards import boards
from medbench.leaderboard.markdown import BEGIN, END, render, replace_block


def test_same_records_in_any_order_give_the_same_bytes(make):
    records = [make("a"), make("b", psnr=25.0), make("c", kind="codec")]
    assert render(records) == render(records[::-1])


def test_every_row_is_named_in_full_and_carries_its_command(make):
    page = render([make("a"), make("b")])
    for name in ("a@v", "b@v"):
        assert page.count(f"`{name}`") >= 1
        assert f"| {name}" in page
    assert "medbench run" in page


def test_best_ranked_rows_come_first_and_references_after_them(make):
    page = render(
        [make("worse", psnr=20.0), make("codec", psnr=40.0, kind="codec"), make("better")]
    )
    positions = [
        page.index(f"| {n}@v") if f"| {n}@v" in page else page.index(f"{n}@v")
        for n in ("better", "worse", "codec")
    ]
    assert positions == sorted(positions)


def test_different_definitions_never_share_a_table(make):
    records = [make("a"), make("b"), make("c", definition=254)]
    assert [[r.tokenizer for r in board] for board in boards(records)] == [["a", "b"], ["c"]]


def headings(page):
    return [line for line in page.splitlines() if line.startswith("## ")]


def test_boards_of_two_presets_are_told_apart(make, make_synthesis):
    page = render([make_synthesis("a", preset="tiny"), make_synthesis("a", preset="small")])
    assert headings(page) == [
        "## synthesis on `medsynth`, preset small",
        "## synthesis on `medsynth`, preset tiny",
    ]
    given = {"answers": "ab", "recipe": "two *epochs*"}
    page = render([make_synthesis("a", options=given)])
    assert headings(page) == ["## synthesis on `medsynth`, recipe two \\*epochs\\*, given answers"]
    assert headings(render([make("a")])) == ["## recon on `medsynth`"]


def test_rows_of_one_name_say_their_seeds(make):
    base = make("a")
    seeds = [base.model_copy(update={"identity": base.identity.model_copy(update={"seed": n})})
             for n in (0, 1)]  # fmt: skip
    page = render([*seeds, make("b")])
    assert "| a@v, seed 0 |" in page
    assert "| a@v, seed 1 |" in page
    assert "| b@v " in page


def test_what_plus_minus_is_over_seeds_is_said_with_their_number_and_deviation(
    make, make_synthesis
):
    page = render([make_synthesis("a")])
    assert "mean over 5 sampling seeds of one generator: 1.24 times their standard" in page
    table = page.split("#### Standard deviation over the sampling seeds\n\n")[1].splitlines()
    assert [cell.strip() for cell in table[0].split("|")[1:-1]] == ["tokenizer", "seeds", "gFID"]
    assert [cell.strip() for cell in table[2].split("|")[1:-1]] == ["a@v", "5", "0.79"]
    assert "sampling seeds of one generator" not in render([make("a")])


def test_what_could_not_be_measured_has_a_row_and_a_reason_but_no_row_of_dashes_below(make):
    why = {"status": "not-applicable", "status_reason": "no codes"}
    page = render([make("a"), make("b").model_copy(update={**why, "metrics": []})])
    above, below = page.split("\n#### ", 1)
    assert "| b@v " in above
    assert "- b@v: not-applicable: no codes" in page
    assert "| a@v " in below
    assert "| b@v " not in below


def test_distances_of_generated_images_stand_beside_their_bounds(make_synthesis):
    page = render([make_synthesis("a")])
    for column in ("gFID, real", "KID ↓", "KID, real", "KID, floor", "KID (random net) ↓"):
        assert f" {column} |" in page
    assert " Samples named right, real |" in page


def test_why_a_row_is_suspect_is_said(make):
    assert "a@v: suspect: does not beat the trivial bound" in render([make("a", status="suspect")])


def test_cells_cannot_break_the_table(make):
    page = render([make("a|b")])
    assert "a\\|b@v" in page


def test_no_records_is_a_usage_error():
    with pytest.raises(UsageError, match="medbench run"):
        render([])


def test_the_marked_block_is_replaced_and_the_rest_kept(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert replace_block(path, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_file_without_the_marks_is_refused(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(UsageError, match="expected one line"):
        replace_block(path, "new")


def test_the_verb_writes_the_page(tmp_path, make, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_record(tmp_path / "results/recon/medsynth/a@v/00000000.json", make("a"))
    assert invoke(["leaderboard"]) == 0
    assert "a@v" in (tmp_path / "LEADERBOARD.md").read_text()
    assert invoke(["leaderboard", "--results", "nowhere"]) == 2
