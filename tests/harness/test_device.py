from __future__ import annotations

import pytest
import torch

from medbench.harness.device import choose_device, repeatable_arithmetic
from medbench.harness.errors import MissingPrerequisite, UsageError


def test_the_best_device_is_chosen_where_none_is_asked_for():
    assert choose_device(None) == choose_device("auto")
    assert choose_device(None) == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cpu:x", "meta", ""])
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
