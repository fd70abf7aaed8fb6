from __future__ import annotations

import pytest
import torch

from medbench.harness.device import choose_device, repeatable_arithmetic
from medbench.harness.errors import MissingPrerequisite, UsageError


def test_the_best_device_is_chosen_where_none_is_asked_for():
    assert choose_device(None) == choose_device("auto")
    assert choose_device(None) == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cpu:x", "meta", "", "cuda:300"])
def test_what_is_no_device_is_a_usage_error(name):
    with pytest.raises(UsageError, match="--device"):
        choose_device(name)


def test_a_device_that_is_not_here_is_a_missing_prerequisite():
    with pytest.raises(MissingPrerequisite, match="this machine has none"):
        choose_device("cuda:77")


def test_settings_are_restored_even_after_an_error():
    before = torch.backends.cudnn.deterministic
    with pytest.raises(ValueError, match="x"), repeatable_arithmetic():
        assert torch.backends.cudnn.deterministic is True
        assert torch.backends.cudnn.allow_tf32 is False
        raise ValueError("x")
    assert torch.backends.cudnn.deterministic is before


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two GPUs, on which this is the process number 1 of two."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")


@pytest.mark.parametrize("name", ["cuda", "auto", None])
def test_each_process_of_torchrun_takes_a_gpu_of_its_own(two_gpus, name):
    assert choose_device(name) == "cuda:1"


def test_more_processes_than_gpus_share_them(two_gpus, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert choose_device("cuda") == "cuda:0"


def test_one_gpu_for_several_processes_is_refused(two_gpus, monkeypatch):
    with pytest.raises(UsageError, match="all 2 processes .* on one GPU. Use --device cuda"):
        choose_device("cuda:0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert choose_device("cuda:0") == "cuda:0"


def test_without_torchrun_cuda_is_what_was_asked_for(two_gpus, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert choose_device("cuda") == "cuda"
    assert choose_device("cuda:1") == "cuda:1"
