"""Checkpoints whose header lies, or whose tensors are of any name, shape and kind."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import medbench
from medbench.harness.errors import MedbenchError
from medbench.harness.weights import read_state_dict
from medbench.harness.weights_convert import convert


def header(entries, *, length=None, body=bytes(64)):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(dtype="F32", shape=(4,), offsets=(0, 16)):
    return {"w": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


HEADERS = {
    "longer than the file": header(entry(), length=1 << 40),
    "of 2^64": header(entry(), length=(1 << 64) - 1),
    "shorter than itself": header(entry(), length=3),
    "terabytes": header(entry(shape=(1 << 40,), offsets=(0, 1 << 42))),
    "product overflows": header(entry(shape=(1 << 32, 1 << 32, 4))),
    "negative": header(entry(shape=(-4,))),
    "before the data": header(entry(offsets=(-16, 0))),
    "behind the data": header(entry(offsets=(1000, 1016))),
    "turned around": header(entry(offsets=(16, 0))),
    "too few bytes": header(entry(shape=(8,))),
    "unknown type": header(entry(dtype="Q99")),
    "type of four bits": header(entry(dtype="F4", shape=(32,))),
    "type of exponents": header(entry(dtype="F8_E8M0", shape=(16,))),
    "a hole": header(entry(offsets=(32, 48))),
    "upon each other": header({**entry(), "v": entry()["w"]}),
    "no fields": header({"w": {}}),
    "no object": header({"w": 3}),
    "a list": header([1]),
    "deep": header(b"[" * 100_000),
    "not text": header(b"{\xff\xfe}"),
    "name of a megabyte": header({"x" * (1 << 20): entry()["w"]}),
    "metadata that is none": header({"__metadata__": {"a": 3}, **entry()}),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_lies(tmp_path, attempt, case):
    path = tmp_path / "w.safetensors"
    path.write_bytes(HEADERS[case])
    attempt(lambda: read_state_dict(path), names=path, refused=case != "name of a megabyte")
    attempt(lambda: medbench.load_tokenizer("meditok", weights=path), names="")


def strange():
    """Tensors that torch.load gives back, and a network cannot be filled with."""
    values = torch.arange(8.0)
    return {
        "sparse": torch.sparse_coo_tensor([[0]], [1.0], (8,)),
        "compressed": torch.eye(8).to_sparse_csr(),
        "without values": torch.empty(1 << 50, device="meta"),
        "quantised": torch.quantize_per_tensor(values, 0.1, 0, torch.qint8),
        "repeated": torch.ones(1).expand(1 << 40),
        "complex": values.to(torch.complex64),
        "eight bits": values.to(torch.float8_e4m3fn),
        "eight bits, not finite": torch.tensor([torch.nan]).to(torch.float8_e5m2),
        "unsigned": values.to(torch.uint16),
        "truths": values > 3,
        "empty": torch.empty(0, 1 << 40),
        "conjugate": values.to(torch.complex64).conj(),
        "turned": torch.arange(64.0).reshape(8, 8).T[::2],
        "scalar": torch.tensor(1.0),
        "many axes": torch.ones([1] * 60),
        "a parameter": torch.nn.Parameter(values),
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", strange())
def test_a_tensor_of_a_strange_kind(tmp_path, attempt, golden, case):
    example = golden("meditok")
    key = max(example.weights, key=lambda key: example.weights[key].numel())
    path = tmp_path / "strange.pth"
    torch.save(example.weights | {key: strange()[case]}, path)
    load = {"config": example.config, "weights": path}
    message = attempt(lambda: medbench.load_tokenizer("meditok", **load), names="")
    assert path.name in message or "meditok@" in message
    attempt(lambda: convert(path, tmp_path / "c.safetensors"), names=path, refused=False)
    state = example.weights | {key: strange()[case]}
    load["weights"] = state
    attempt(lambda: medbench.load_tokenizer("meditok", **load), names="")


CONTENTS = {
    "wrapped in itself": lambda: _circle(),
    "wrapped a hundred times": lambda: _wrapped(100),
    "keys that are numbers": lambda: {1: torch.ones(1), None: torch.ones(1), (1, 2): torch.ones(1)},
    "a list": lambda: [torch.ones(1)] * 9,
    "a text": lambda: "state_dict",
    "lists inside": lambda: {"state_dict": [{"w": torch.ones(1)}]},
    "nothing": lambda: {"state_dict": {}},
    "names of a megabyte": lambda: {"x" * (1 << 20): torch.ones(1)},
    "control characters": lambda: {"\x00\x1b[2J\n": torch.ones(1)},
    "twenty thousand": lambda: {f"k{n}": torch.ones(()) for n in range(20_000)},
}


def _circle():
    found: dict = {}
    found["state_dict"] = {"model": found}
    return found


def _wrapped(times):
    found: dict = {"w": torch.ones(1)}
    for _ in range(times):
        found = {"model": found}
    return found


@pytest.mark.parametrize("case", CONTENTS)
def test_a_content_of_another_form(tmp_path, attempt, case):
    path = tmp_path / "other.pth"
    try:
        torch.save(CONTENTS[case](), path)
    except RecursionError:
        pytest.skip("pickle cannot write it")
    attempt(lambda: medbench.load_tokenizer("meditok", weights=path), names="")


keys = st.text(max_size=20) | st.sampled_from(
    [
        "encoder.weight",
        "decoder.0.bias",
        "module.x",
        "core.quantizer.codebook",
        "quantize.embedding",
    ]
)
kinds = st.sampled_from([torch.float32, torch.float16, torch.int64, torch.bool, torch.complex64])
shapes = st.lists(st.integers(0, 5), max_size=4)
tensors = st.builds(lambda shape, kind: torch.zeros(shape, dtype=kind), shapes, kinds)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(extra=st.dictionaries(keys, tensors, max_size=4), data=st.data())
def test_maps_of_any_names_shapes_and_kinds(golden, attempt, published, extra, data):
    example = golden(published)
    state = dict(example.weights)
    if data.draw(st.booleans()):
        for key in data.draw(st.lists(st.sampled_from(sorted(state)), max_size=3, unique=True)):
            change = data.draw(tensors | st.none())
            state.pop(key) if change is None else state.update({key: change})
    if data.draw(st.booleans()):
        state = {f"module.{key}": value for key, value in state.items()}
    state |= extra
    for whole in (state, extra):
        attempt(
            lambda w=whole: medbench.load_tokenizer(published, config=example.config, weights=w),
            names="",
            refused=False,
        )


def test_a_refusal_names_no_more_than_a_few_of_many_keys(attempt, golden):
    example = golden("meditok")
    extra = {f"{'k' * 200}{n}": torch.ones(1) for n in range(5_000)}
    with pytest.raises(MedbenchError) as caught:
        medbench.load_tokenizer("meditok", config=example.config, weights=example.weights | extra)
    assert len(str(caught.value)) < 5_000
