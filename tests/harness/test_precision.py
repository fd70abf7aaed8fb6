"""A record in bfloat16: another cell, marked, and never beside one in float32."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from medbench.__main__ import invoke
from medbench.harness.array_cache import Kept
from medbench.harness.errors import UsageError
from medbench.harness.precision import FULL, Precision, cache_facts, marked
from medbench.harness.record import Definition
from medbench.harness.record_files import load_record
from medbench.harness.request import Request
from medbench.leaderboard.boards import boards
from medbench.leaderboard.pairs import not_comparable
from medbench.tasks.synthesis import tokens
from medbench.tasks.synthesis.tokenizer_key import TokenizerKey
from medbench.tasks.vqa import image_tokens


class Store:
    """No images."""

    fingerprint = "f"

    def __len__(self):
        return 0


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The same cell in both precisions, as the command line measures it."""
    folder = tmp_path_factory.mktemp("precision") / "results"
    words = [
        "run",
        "--task",
        "recon",
        "--tokenizer",
        "pumit-hard@tiny",  # few convolutions, which bfloat16 slows most on CPUs
        "--dataset",
        "medsynth",
        "--limit",
        "1",
    ]
    found = {}
    for precision in ("fp32", "bf16"):
        assert invoke([*words, "--precision", precision, "--output", str(folder)]) == 0
        (path,) = set(folder.glob("recon/*/*/*.json")) - {path for path, _ in found.values()}
        found[precision] = path, load_record(path)
    return {precision: record for precision, (_, record) in found.items()}


def test_it_is_another_cell_that_says_its_precision(records):
    plain, cast = records["fp32"], records["bf16"]
    assert (plain.identity.precision, cast.identity.precision) == ("float32", "bfloat16")
    assert (plain.environment.precision, cast.environment.precision) == ("float32", "bfloat16")
    assert plain.identity.key8 != cast.identity.key8
    assert any("bfloat16" in warning for warning in cast.warnings)
    assert not any("float" in warning for warning in plain.warnings)
    values = [r.metric("psnr", "macro").value for r in (plain, cast)]
    assert values[0] != values[1]
    assert values[0] == pytest.approx(values[1], abs=0.5)


def test_every_definition_of_it_is_marked(records):
    cast, plain = records["bf16"], records["fp32"]
    assert cast.definitions.keys() == {f"{name}-bfloat16" for name in plain.definitions}
    hashes = {metric.definition_hash for metric in plain.metrics}
    assert not hashes & {metric.definition_hash for metric in cast.metrics}


def test_it_shares_no_table_with_float32_and_is_not_compared_with_it(records):
    assert len(boards(records.values())) == 2
    reason = not_comparable(records["fp32"], records["bf16"], "psnr", "macro")
    assert "psnr-rgb-u8-1-bfloat16" in str(reason)


def test_float32_changes_no_definition():
    definition = Definition(id="psnr-1", facts={"range": 255})
    assert marked({"psnr": definition}, FULL) == {"psnr": definition}
    (other,) = marked({"psnr": definition}, "bfloat16").values()
    assert other.hash != definition.hash
    assert other.facts["range"] == 255


def test_caches_of_what_a_tokenizer_gives_are_apart():
    full, half = (SimpleNamespace(precision=p) for p in (FULL, "bfloat16"))
    assert cache_facts(None) == cache_facts(full) == {}
    assert cache_facts(half) == {"precision": "bfloat16"}


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match="--precision 'fp16': known are fp32, bf16"):
        Request(["mean"], precision="fp16")
    with pytest.raises(UsageError, match="'float16' cannot be asked for"):
        Precision.of_record("float16")
    assert [Precision.of_record(each.stored) for each in Precision] == list(Precision)


def test_tokens_and_codes_of_other_precisions_are_other_entries_of_the_cache(monkeypatch):
    asked = []

    def kept(wanted):
        asked.append(wanted.facts)
        empty = Kept(np.empty((0, 1, 1)), 0.0, fresh=False, sha256="")
        return {"tokens": empty, "indices": empty}

    info = SimpleNamespace(full_name="a@b", cannot={}, parameters=1)
    store = Store()
    key = TokenizerKey("a", "0", None, 1, 16, 4, "raster")
    for module, call in (
        (image_tokens, lambda cell: image_tokens.image_tokens(cell, store, side=0)),
        (tokens, lambda cell: tokens.tokens_of(cell, key, store, np.arange(2), label="x")),
    ):
        monkeypatch.setattr(module, "kept_arrays", kept)
        for precision in (FULL, "bfloat16"):
            identity = SimpleNamespace(weights_sha256="0", config_sha256=None, precision=precision)
            tokenizer = SimpleNamespace(info=info)
            call(SimpleNamespace(tokenizer=tokenizer, identity=identity, device="cpu"))
    assert asked[0] != asked[1]
    assert asked[2] != asked[3]
