from __future__ import annotations

import json

import pytest

from medbench.__main__ import invoke
from medbench.harness.errors import UsageError
from medbench.harness.record_metric import Definition, metric_of
from medbench.leaderboard.ledger import ledger, papers
from medbench.leaderboard.reproduction.plan import plan, suite
from medbench.leaderboard.reproduction.results import beside, reproduced

MISMATCHED = {
    ("MedVAE", "rFID"),
    ("UniTok", "PSNR"),
    ("MedITok", "PSNR"),
    ("Emu3-VQ", "SSIM"),
    ("MedVAE", "SSIM"),
    ("MedVAE", "mAP"),
}


def test_the_ledger_holds_every_table():
    tables = {}
    for row in ledger():
        tables[row.table] = tables.get(row.table, 0) + 1
    assert tables == {
        "reconstruction": 7 * 9 * 3,
        "classification": 7 * 6 * 2,
        "synthesis": 8,
        "vqa": 12,
        "ablation 5": 36,
        "ablation S1": 36,
    }
    assert set(tables) == set(papers()["meditok-paper"].tables)


def test_an_average_is_the_mean_of_its_cells_or_says_that_it_is_not():
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for row in ledger():
        if row.table in ("reconstruction", "classification"):
            rows.setdefault((row.method, row.metric), {})[row.place] = row
    unlike = set()
    for key, cells in rows.items():
        printed = cells.pop("AVG")
        mean = sum(cell.value for cell in cells.values()) / len(cells)
        if abs(mean - printed.value) > 0.0101:
            unlike.add(key)
            assert "mean of the" in printed.note
            assert all(cell.note for cell in cells.values())
        else:
            assert "more than rounding" not in printed.note
    assert unlike == MISMATCHED


def test_exchanged_looking_cells_are_marked():
    marked = {
        (row.method, row.place, row.metric) for row in ledger() if "look exchanged" in row.note
    }
    expected = {
        ("PUMIT", place, metric)
        for place in ("MRI", "Pathology")
        for metric in ("rFID", "PSNR", "SSIM")
    }
    assert marked == expected


def test_an_unknown_paper_is_refused():
    with pytest.raises(UsageError, match="known: meditok-paper"):
        ledger("another-paper")
    assert invoke(["reproduce", "another-paper", "--dry-run"]) == 2
    assert invoke(["reproduce", "meditok-paper", "--table", "ablation", "--dry-run"]) == 2


def test_the_suite_has_sets_for_all_eight_modalities():
    assert len(suite()) == 8
    assert sum(len(sets) for sets in suite().values()) >= 22


def test_every_cell_of_the_four_tables_is_planned_and_says_what_it_lacks(capsys, monkeypatch):
    monkeypatch.delenv("MEDBENCH_DATA", raising=False)
    assert invoke(["reproduce", "meditok-paper", "--dry-run", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert len(cells) == 189 + 84 + 8 + 12
    assert all(cell["missing"] for cell in cells)
    vqgan = next(c for c in cells if c["method"] == "VQGAN" and c["place"] == "DermaMNIST")
    assert vqgan["tokenizer"] == "vqgan@official"
    assert vqgan["datasets"] == ["dermamnist@224"]
    assert any("medbench weights fetch vqgan@official" in reason for reason in vqgan["missing"])
    stage_one = next(c for c in cells if c["method"] == "MedITok-S1")
    assert any("not published" in reason for reason in stage_one["missing"])


def test_where_nothing_can_run_it_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MEDBENCH_DATA", raising=False)
    options = ["--table", "vqa", "--results", str(tmp_path)]
    assert invoke(["reproduce", "meditok-paper", *options]) == 3
    assert "no cell could be run" in capsys.readouterr().err


def test_records_stand_beside_the_papers_values(make, tmp_path):
    from medbench.harness.record_files import write_record

    cells = plan("meditok-paper", data_root=None, tables=["reconstruction"])
    wanted = ("VQGAN", "Dermoscopy", "PSNR")
    place = next(c for c in cells if (c.row.method, c.row.place, c.row.metric) == wanted)
    base = make("vqgan", psnr=29.0)
    for number, dataset_id in enumerate(place.datasets):
        record = base.model_copy(
            update={
                "variant": "official",
                "info": base.info.model_copy(update={"variant": "official"}),
                "identity": base.identity.model_copy(update={"limit": None}),
                "dataset": base.dataset.model_copy(update={"id": dataset_id}),
            }
        )
        write_record(tmp_path / f"recon/{dataset_id}/vqgan@official/{number:08}.json", record)
    found = {
        (r.cell.row.method, r.cell.row.place, r.cell.row.metric): r
        for r in reproduced(cells, tmp_path)
    }
    psnr = found["VQGAN", "Dermoscopy", "PSNR"]
    assert psnr.ours == pytest.approx(29.0)
    assert psnr.difference == pytest.approx(29.0 - 29.28)
    assert "not stated" in psnr.why
    ssim = found["VQGAN", "Dermoscopy", "SSIM"]
    assert ssim.ours == pytest.approx(100 * base.metric("ssim", "all").value)
    average = found["VQGAN", "AVG", "PSNR"]
    assert average.ours is None
    assert "without CT" in average.why


def test_only_float32_stands_beside_the_papers_values(make):
    cells = plan("meditok-paper", data_root=None, tables=["reconstruction"])
    wanted = ("VQGAN", "Dermoscopy", "PSNR")
    place = next(c for c in cells if (c.row.method, c.row.place, c.row.metric) == wanted)
    base = make("vqgan", psnr=29.0)
    found = []
    for precision in ("float32", "bfloat16"):
        identity = base.identity.model_copy(update={"limit": None, "precision": precision})
        named = base.model_copy(update={"variant": "official", "identity": identity})
        records = [
            named.model_copy(update={"dataset": base.dataset.model_copy(update={"id": name})})
            for name in place.datasets
        ]
        found.append(beside([place], records)[0].ours is None)
    assert found == [False, True]


SIX_SETS = (
    "union:bloodmnist@224,breastmnist@224,chestmnist@224,dermamnist@224,pathmnist@224,"
    "retinamnist@224"
)
CT = "union:aapm-lowdose-ct,btcv-cervix,silver07"
PAPER = {"preset": "paper"}


def finished(base, tokenizer, task, dataset, metric, options):
    """A record as a run of the command would leave it, with one metric: (name, setting, group)."""
    name, setting, group = metric
    name_, _, variant = tokenizer.partition("@")
    definition = Definition(id="made", facts={})
    return base.model_copy(
        update={
            "tokenizer": name_,
            "variant": variant,
            "task": task,
            "dataset": base.dataset.model_copy(update={"id": dataset}),
            "identity": base.identity.model_copy(update={"limit": None, "options": options}),
            "metrics": [metric_of(name, group, definition, setting=setting, value=0.5, n=10)],
        }
    )


@pytest.mark.parametrize(
    ("cell", "task", "dataset", "metric", "options"),
    [
        (("CT", "rFID"), "recon", CT, ("rfid", "", "all"), {}),
        (("PathMNIST", "mAP"), "probe", "pathmnist@224", ("map", "lp-paper", "all"), {}),
        (("AVG", "gFID"), "synthesis", SIX_SETS, ("gfid", "", "macro"), PAPER),
        (("AVG", "diversity"), "synthesis", SIX_SETS, ("diversity", "", "macro"), PAPER),
        (("VQA-RAD", "accuracy"), "vqa", "vqa-rad@test", ("overall", "", "all"), PAPER),
        (("SLAKE-val", "accuracy"), "vqa", "slake@val", ("overall", "", "all"), PAPER),
        (("SLAKE-test", "accuracy"), "vqa", "slake@test", ("overall", "", "all"), {"model": "ab"}),
        (("VQA-RAD", "accuracy"), "vqa", "vqa-rad@test", ("overall", "", "all"), {"answers": "ab"}),
    ],
)
def test_a_finished_run_of_each_documented_command_fills_its_cell(
    make, cell, task, dataset, metric, options
):
    record = finished(make("a"), "unitok@official", task, dataset, metric, options)
    found = beside(plan("meditok-paper", data_root=None), [record])
    filled = {(r.cell.row.place, r.cell.row.metric): r for r in found if r.ours is not None}
    assert list(filled) == [cell]
    assert filled[cell].cell.row.method == "UniTok"
    assert filled[cell].ours == 0.5 * filled[cell].cell.scale


@pytest.mark.parametrize(
    ("task", "dataset", "metric", "options"),
    [
        ("synthesis", SIX_SETS, ("gfid", "", "macro"), {"preset": "tiny"}),
        ("synthesis", SIX_SETS, ("gfid", "", "macro"), {"preset": "paper", "generator": "ab"}),
        ("vqa", "slake@test", ("overall", "", "all"), {"preset": "tiny"}),
    ],
)
def test_values_of_another_preset_or_generator_do_not_stand_beside_the_papers(
    make, task, dataset, metric, options
):
    record = finished(make("a"), "unitok@official", task, dataset, metric, options)
    found = beside(plan("meditok-paper", data_root=None), [record])
    assert not any(each.ours is not None for each in found)


def test_what_synthesis_lacks_names_the_command_that_fills_the_cell():
    (cell, *_) = plan("meditok-paper", data_root=None, tables=["synthesis"])
    assert cell.datasets == (SIX_SETS,)
    assert f"--preset paper --dataset {SIX_SETS})" in cell.missing[-2]
    assert "breastmnist@224, chestmnist@224" in cell.missing[-1]
