from __future__ import annotations

import json
from pathlib import Path

import pytest

from medbench.harness.errors import UsageError
from medbench.harness.record import Definition, Identity
from medbench.harness.record_files import load_record, load_records, record_path, slug, write_record

OLD = Path(__file__).parent.parent / "records"


@pytest.fixture
def data() -> dict:
    return json.loads((OLD / "v1_recon.json").read_text())


def reload(tmp_path, data):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    return load_record(path)


@pytest.mark.parametrize("path", sorted(OLD.glob("*.json")), ids=lambda p: p.stem)
def test_every_record_ever_written_still_loads(path):
    record = load_record(path)
    assert record.schema_version == 1
    assert record.metrics


def test_writing_and_loading_gives_the_same_record(tmp_path, data):
    record = reload(tmp_path, data)
    write_record(tmp_path / "b.json", record)
    assert load_record(tmp_path / "b.json") == record


def test_a_newer_schema_is_refused_with_the_way_out(tmp_path, data):
    with pytest.raises(UsageError, match="record schema 2; this medbench reads up to 1"):
        reload(tmp_path, data | {"schema_version": 2})


@pytest.mark.parametrize("value", [{}, [], {"schema_version": "1"}, {"schema_version": True}, 3])
def test_other_json_is_not_a_record(tmp_path, value):
    with pytest.raises(UsageError, match="not a medbench record"):
        reload(tmp_path, value)


def test_a_truncated_file_is_refused_by_path(tmp_path):
    (tmp_path / "a.json").write_text((OLD / "v1_recon.json").read_text()[:500])
    with pytest.raises(UsageError, match=r"a\.json: not a readable JSON"):
        load_record(tmp_path / "a.json")


def change(data, **fields):
    metrics = [dict(metric) for metric in data["metrics"]]
    metrics[0] |= fields
    return data | {"metrics": metrics}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "psnrr"}, "unknown metric"),
        ({"value": 1000.0}, "outside 0.0..100.0"),
        ({"value": None}, "absent without a reason"),
        ({"group": "knees"}, "unknown group"),
        ({"definition_hash": "0" * 16}, "definition hash does not fit"),
        ({"typo": 1}, "Unexpected keyword"),
    ],
)
def test_an_impossible_metric_does_not_load(tmp_path, data, fields, message):
    with pytest.raises(UsageError, match=message):
        reload(tmp_path, change(data, **fields))


def test_nan_does_not_load(tmp_path, data):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(change(data, value=float("nan"))))
    with pytest.raises(UsageError, match="finite"):
        load_record(path)


def numbers(value, place=()):
    """Places of all numbers; of a list, those of its first entry."""
    if isinstance(value, dict):
        inner = value.items()
    else:
        inner = enumerate(value[:1]) if isinstance(value, list) else ()
    for key, each in inner:
        yield from numbers(each, (*place, key))
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield place


def test_no_number_of_a_record_is_beyond_counting(tmp_path, data):
    data["identity"]["seed"] = data["dataset"]["patients"] = 1
    (first, *_) = data["metrics"]
    data |= {"metrics": [first]}
    data["definitions"] = {first["definition"]: data["definitions"][first["definition"]]}
    places = list(numbers(data))
    assert {place[-1] for place in places} >= {"n", "ct", "parameters", "batch_size", "threads"}
    assert {"resolution", "limit", "seed", "patients", "bits_per_image"} <= {p[-1] for p in places}
    for place in places:
        *above, last = place
        holder = data
        for key in above:
            holder = holder[key]
        kept = holder[last]
        endless = [10**13, 2**63, 10**400] + [-5] * isinstance(kept, int)
        for number in endless + [0] * (last == "resolution"):
            holder[last] = number
            with pytest.raises(UsageError, match=r"a\.json: "):
                reload(tmp_path, data)
        holder[last] = kept
    assert reload(tmp_path, data)


def test_a_metric_occurs_once_per_group(tmp_path, data):
    with pytest.raises(UsageError, match="occurs twice"):
        reload(tmp_path, data | {"metrics": data["metrics"] + data["metrics"][:1]})


def test_changed_definition_facts_are_noticed(tmp_path, data):
    name = data["metrics"][0]["definition"]
    data["definitions"][name]["facts"]["range"] = 254
    with pytest.raises(UsageError, match="does not fit its facts"):
        reload(tmp_path, data)


def test_the_hash_of_a_definition_changes_with_every_fact():
    base = Definition(id="a", facts={"x": 1, "y": [1, 2]})
    others = [
        Definition(id="b", facts=base.facts),
        Definition(id="a", facts={"x": 1}),
        Definition(id="a", facts={"x": 1, "y": [2, 1]}),
    ]
    assert len({d.hash for d in [base, *others]}) == 4


def test_key8_changes_with_weights_data_definitions_limit_precision_and_seed():
    base = {
        "weights_sha256": "a",
        "config_sha256": None,
        "data_fingerprint": "d",
        "definitions_sha256": "e",
        "limit": None,
        "precision": "float32",
        "seed": None,
    }
    changes = [{}] + [{key: 7 if key in {"limit", "seed"} else "other"} for key in base]
    keys = {Identity(**base | change).key8 for change in changes}
    assert len(keys) == len(changes)
    assert all(len(key) == 8 for key in keys)


def test_paths_hold_no_character_that_a_file_system_minds():
    assert slug("folder:My Images/ä") == "folder-my-images--"
    path = record_path(
        Path("r"), task="recon", dataset_id="medsynth", tokenizer="jpeg@12000", key8="0" * 8
    )
    assert path.as_posix() == "r/recon/medsynth/jpeg@12000/00000000.json"


def test_load_records_reads_every_record_below_and_nothing_else(tmp_path, data):
    for name in ("recon/a/x@1/11111111.json", "recon/a/y@1/22222222.json", ".work/a/b/c/d.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))
    assert len(load_records(tmp_path)) == 2
    with pytest.raises(UsageError, match="no results directory"):
        load_records(tmp_path / "nowhere")
