from __future__ import annotations

import io
import logging
import sys

from medbench.harness import progress
from medbench.harness.progress import track


def test_items_pass_through_in_order():
    assert list(track([3, 1, 2], total=3, label="x")) == [3, 1, 2]


def test_a_log_gets_plain_lines_with_the_time_left(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    list(track(range(6), total=6, label="reading"))
    assert "reading: 2 of 6, 0.05/s, about 80 s left" in caplog.messages


def test_shards_are_counted_as_images(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    clock = iter(range(0, 1000, 32))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    list(track(range(3), total=150, label="drawing", each=64))
    assert caplog.messages == [
        "drawing: 64 of 150, 2/s, about 43 s left",
        "drawing: 128 of 150, 2/s, about 11 s left",
    ]


def test_a_terminal_gets_a_bar_only_after_two_seconds(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(track(range(3), total=3, label="quick")) == [0, 1, 2]
    assert terminal.getvalue() == ""
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    assert list(track(range(3), total=3, label="slow")) == [0, 1, 2]
    assert "slow" in terminal.getvalue()
