from __future__ import annotations

import copy
import csv
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from medbench.leaderboard.site.build import build_site
from medbench.leaderboard.site.licences import commercial_use
from medbench.leaderboard.site.names import page_name


def rows_of(page, table):
    """Names and rank cells of a table of a page."""
    text = page.read_text(encoding="utf-8")
    body = re.search(rf'id="{table}".*?</table>', text, re.DOTALL).group()
    return {
        name: re.sub("<[^>]+>", "", rank)
        for name, rank in re.findall(
            r'<tr data-row="([^"]+)".*?<td class="num rank"[^>]*>(.*?)</td>', body, re.DOTALL
        )
    }


def only_board(site):
    (page,) = (site / "board").glob("recon-*.html")
    return page


def test_tracks_have_tables_of_their_own_and_references_are_not_ranked(site, board):
    controlled, own = (rows_of(site / board, f"table-{n}") for n in (1, 2))
    assert controlled["meditok@tiny"] == "1"
    assert "meditok@tiny" not in own
    assert "alpha@v" not in controlled
    assert own["latent@v"] == "1"
    assert own["alpha@v"] != "–"
    for reference in ("jpeg@v", "mean@v"):
        assert controlled[reference] == own[reference] == "–"
    assert own["poor@v"] == "–"


def test_other_definitions_have_another_table(tmp_path, record_data, store):
    from medbench.harness.record import Definition

    results = tmp_path / "results"
    for name in ("a", "b"):
        store(results, record_data(name))
    other = record_data("c")
    facts = other["definitions"]["psnr-rgb-u8-1"]
    facts["facts"]["range"] = 254
    for metric in other["metrics"]:
        if metric["definition"] == "psnr-rgb-u8-1":
            metric["definition_hash"] = Definition.model_validate(facts).hash
    store(results, other)
    site = build_site(results, tmp_path / "site").output
    tables = [rows_of(only_board(site), f"table-{n}") for n in (1, 2)]
    assert sorted(map(tuple, tables)) == [("a@v", "b@v"), ("c@v",)]
    assert "psnr-rgb-u8-1" in (site / "changes.html").read_text(encoding="utf-8")


def test_boards_say_their_preset_and_what_their_seeds_are(tmp_path, make_synthesis, store):
    results = tmp_path / "results"
    for preset, fingerprint in (("tiny", "a"), ("small", "a"), ("smoke", "b")):
        data = json.loads(make_synthesis("a", preset=preset).model_dump_json())
        data["dataset"]["fingerprint"] = data["identity"]["data_fingerprint"] = fingerprint * 64
        store(results, data)
    site = build_site(results, tmp_path / "site").output
    pages = [page.read_text(encoding="utf-8") for page in (site / "board").iterdir()]
    alone, both = sorted(pages, key=lambda text: text.count('<table class="board"'))
    assert "<title>Synthesis on medsynth, preset smoke" in alone
    assert "</a>, preset smoke</h1>" in alone
    assert "mean over 5 sampling seeds of one generator" in alone
    for preset in ("tiny", "small"):
        assert re.search(f"<h2>[^<]*, preset {preset},[^<]*</h2>", both)
    task = (site / "task" / "synthesis.html").read_text(encoding="utf-8")
    assert ">medsynth, preset smoke</a>" in task


def test_an_earlier_record_of_a_tokenizer_is_kept_and_not_ranked(tmp_path, record_data, store):
    results = tmp_path / "results"
    for day, digest in (("01", "a" * 64), ("02", "b" * 64)):
        data = record_data("a", psnr=30.0 + int(day), created=f"2026-01-{day}T00:00:00+00:00")
        data["info"]["weights_sha256"] = data["identity"]["weights_sha256"] = digest
        store(results, data)
    site = build_site(results, tmp_path / "site").output
    assert list(rows_of(only_board(site), "table-1")) == ["a@v"]
    assert "32.00" in only_board(site).read_text(encoding="utf-8")
    assert len(list((site / "run").glob("*.html"))) == 2
    history = (site / "tokenizer" / "a@v.html").read_text(encoding="utf-8")
    assert "replaced by a newer record" in history


def test_a_withdrawn_row_stays_with_its_reason_and_loses_its_rank(tmp_path, record_data, store):
    results = tmp_path / "results"
    store(results, record_data("a", psnr=31.0))
    path = store(results, record_data("b", psnr=30.0))
    key = path.relative_to(results).with_suffix("").as_posix()
    given = {"mark": "withdrawn", "by": "M", "date": "2026-11-21", "reason": "wrong weights"}
    (results / "marks.yaml").write_text(yaml.safe_dump({key: given}))
    site = build_site(results, tmp_path / "site").output
    assert rows_of(only_board(site), "table-1") == {"a@v": "1", "b@v": "–"}
    assert "wrong weights" in (site / "changes.html").read_text(encoding="utf-8")


def test_a_missing_value_is_a_dash_with_its_reason(site, board):
    text = (site / board).read_text(encoding="utf-8")
    assert "what is missing, and why" in text
    jpeg = text.split('<tr data-row="jpeg@v"')[1].split("</tr>")[0]
    assert '<span class="v" title="not measured">–</span>' in jpeg


def test_downloads_hold_the_stored_values(site, results):
    (path,) = (site / "data").glob("recon-medsynth-*.csv")
    rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    parquet = pq.read_table(path.with_suffix(".parquet")).to_pylist()
    nested = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    (stored,) = (results / "recon" / "medsynth" / "alpha@v").glob("*.json")
    metrics = json.loads(stored.read_text())["metrics"]
    own = [row for row in rows if row["tokenizer"] == "alpha@v"]
    assert len(own) == len(metrics)
    assert len(parquet) == len(rows)
    entry = next(row for row in nested["rows"] if row["tokenizer"] == "alpha@v")
    columns = [row for row in parquet if row["tokenizer"] == "alpha@v"]
    for metric, line, column, values in zip(metrics, own, columns, entry["metrics"], strict=True):
        named = dict(zip(nested["fields"], values, strict=True))
        for key in ("value", "low", "high", "n"):
            expected = metric.get(key)
            assert named[key] == column[key] == expected
            assert (float(line[key]) if line[key] else None) == expected
        assert line["definition_hash"] == metric["definition_hash"]


def test_scripts_get_the_stored_resamples(site, results):
    import base64

    (path,) = (site / "data").glob("recon-medsynth-*.draws.js")
    data = json.loads(path.read_text().partition(" = ")[2].rstrip().rstrip(";"))
    packed = data["table-2"]["rows"]["alpha@v"]["draws"]["psnr"]
    (stored,) = (results / "recon" / "medsynth" / "alpha@v").glob("*.json")
    metrics = json.loads(stored.read_text())["metrics"]
    expected = next(
        m["replicates"] for m in metrics if (m["name"], m["group"]) == ("psnr", "macro")
    )
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(packed), "<f4"), expected, rtol=1e-6)


def test_pictures_of_local_data_never_reach_the_site(tmp_path, record_data, store):
    data = record_data("a")
    data["dataset"]["pixels"] = "local"
    store(tmp_path / "results", data, pictures=3)
    site = build_site(tmp_path / "results", tmp_path / "site").output
    assert [path.name for path in (site / "images").iterdir()] == ["error-scale.png"]
    assert "does not let their pixels be published" in only_board(site).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["link", "text", "absent"])
def test_a_gallery_file_that_is_no_picture_of_its_record_is_left_out(
    tmp_path, record_data, store, kind
):
    path = store(tmp_path / "results", record_data("a"), pictures=2)
    picture = path.parent / f"{path.stem}.gallery" / "00000.png"
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture.read_bytes())
    picture.unlink()
    if kind == "link":
        picture.symlink_to(secret)
    elif kind == "text":
        picture.write_text("<svg onload=alert(1)>")
    report = build_site(tmp_path / "results", tmp_path / "site")
    (problem,) = report.problems
    assert "00000.png" in problem.reason
    assert report.records == 1
    assert len(list((report.output / "images").iterdir())) == 4


def test_answers_stand_on_the_page_of_their_record(tmp_path, record_data, store):
    import pandas as pd

    asked = {"id": "q1", "image": "ct/0", "group": "ct", "kind": "closed", "correct": 0.0}
    asked |= {"question": "Is <b>this</b> CT?", "reference": "yes", "answer": "no"}
    data = record_data("a", per_image="rows.parquet", per_image_sha256="0" * 64)
    path = store(tmp_path / "results", data, pictures=1)
    pd.DataFrame([asked]).to_parquet(path.parent / "rows.parquet")
    site = build_site(tmp_path / "results", tmp_path / "site").output
    (page,) = (site / "run").iterdir()
    text = page.read_text(encoding="utf-8")
    row = text.split('id="answers"')[1].split("<tbody>")[1].split("</tbody>")[0]
    assert "Is &lt;b&gt;this&lt;/b&gt; CT?" in row
    assert "not right" in row
    assert "<img" in row


def test_error_maps_show_the_mean_absolute_error_on_one_scale():
    from medbench.leaderboard.site.gallery import ERROR_SCALE, error_map

    colours = error_map(np.array([[0.0, ERROR_SCALE / 2, ERROR_SCALE, 255.0]]))
    light = colours.astype(float).sum(axis=2)[0]
    assert light[0] < light[1] < light[2] == light[3]


@pytest.mark.parametrize(
    ("licence", "use"),
    [
        ("Apache-2.0", "commercial"),
        ("mit", "commercial"),
        ("CC BY 4.0", "commercial"),
        ("CC0-1.0", "commercial"),
        ("MIT-CMU (Pillow), BSD-3-Clause (libwebp)", "commercial"),
        ("CC BY-NC 4.0", "non-commercial"),
        ("CC-BY-NC-SA-4.0", "non-commercial"),
        ("MIT code, weights for non-commercial use", "non-commercial"),
        ("own terms, research only", "non-commercial"),
        ("unknown", "unclear"),
        ("none is given", "unclear"),
        ("permitted on request", "unclear"),
        ("", "unclear"),
    ],
)
def test_licence_texts_are_read_cautiously(licence, use):
    assert commercial_use(licence) == use


def test_page_names_are_safe_and_different_for_different_texts():
    texts = ["a", "A", "a ", "../a", "..", ".a", "a/b", "a-b", "a" * 300, "a" * 301, "é", "名", ""]
    names = [page_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert all(re.fullmatch(r"[a-z0-9_@-][a-z0-9._@-]{0,100}", name) for name in names)


def test_mean_ranks_are_given_only_to_rows_on_every_board(tmp_path, record_data, store):
    results = tmp_path / "results"
    for name, psnr in (("a", 31.0), ("b", 30.0), ("c", 29.0)):
        data = record_data(name, psnr=psnr)
        store(results, copy.deepcopy(data))
        if name == "c":
            continue
        data["dataset"] |= {"id": "other", "fingerprint": "f" * 64}
        data["dataset"]["disclosure"] = "overlap declared: other" if name == "a" else "none"
        data["identity"]["data_fingerprint"] = "f" * 64
        store(results, data)
    site = build_site(results, tmp_path / "site").output
    text = (site / "task" / "recon.html").read_text(encoding="utf-8")
    line = {
        name: re.sub(r"<[^>]+>", " ", text.split(f'<tr data-row="{name}@v"')[1].split("</tr>")[0])
        for name in ("a", "b", "c")
    }
    assert re.findall(r"\d\.\d\d", line["a"])[:2] == ["1.00", "1.00"]
    assert re.findall(r"\d\.\d\d", line["b"])[:2] == ["2.00", "2.00"]
    assert "missing: other" in line["c"]
    assert "overlap declared" in line["a"]


def test_a_record_without_values_says_so_instead_of_an_empty_table(tmp_path, record_data, store):
    results = tmp_path / "results"
    store(results, record_data("alpha"))
    codec = record_data("jpeg", kind="codec", status="not-applicable", metrics=[], definitions={})
    store(results, codec | {"status_reason": "a codec has no latents"})
    build_site(results, tmp_path / "site")
    texts = [page.read_text() for page in (tmp_path / "site" / "run").rglob("*.html")]
    (empty,) = (text for text in texts if "This record holds no values." in text)
    assert "a codec has no latents" in empty
    assert '<table class="plain values">' not in empty
    assert sum('<table class="plain values">' in text for text in texts) == 1


def test_rows_without_a_value_stand_in_no_heat_map_and_on_the_overview_only_where_there_is_room(
    tmp_path, record_data, store
):
    none = record_data("jpeg", kind="codec", status="not-applicable", metrics=[], definitions={})
    for ranked, there in ((5, True), (6, False)):
        results = tmp_path / str(ranked)
        store(results, none | {"status_reason": "a codec has no latents"})
        for index in range(ranked):
            store(results, record_data(f"t{index}", psnr=30.0 + index))
        site = build_site(results, tmp_path / f"site{ranked}").output
        assert ("jpeg@v" in (site / "index.html").read_text().split("<table")[1]) is there
        (board,) = (site / "board").glob("*.html")
        heat = board.read_text().split('<table class="heat">')[1].split("</table>")[0]
        assert "t0@v" in heat
        assert "jpeg@v" not in heat
