"""A register of all bad inputs tried, and what came of them, printed at the end.

`attempt(action, names=PATH)` carries out what a user would do with a bad file. What may happen:
a MedbenchError that names the file (refused), or success without harm (read). Whatever else
happens fails the test, and is counted as crashed, hung or executed.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from medbench.__main__ import invoke
from medbench.harness.errors import ExitCode, MedbenchError

CPU_SECONDS, SECONDS = 30, 120
"""After which an input counts as one that hangs its reader; each takes a fraction of a second."""
COUNTS = pytest.StashKey[Counter]()
OUTCOMES = ("tried", "refused", "read", "executed", "crashed", "hung")
_FAILURES = {int(code) for code in ExitCode} - {0}


class Hung(BaseException):
    """The reader did not come back."""


class Attempt:
    """Carries out actions on bad inputs, and counts what came of each."""

    def __init__(self, counts: Counter, marker: Path) -> None:
        self.counts, self.marker = counts, marker

    def __call__(
        self, action: Callable[[], Any], *, names: Path | str, refused: bool = True
    ) -> str:
        """The message of the refusal; empty where nothing was wrong (unless it had to be).

        Args:
            action: what a user does.
            names: what the message must contain.
            refused: whether success would be a mistake.
        """
        self.counts["tried"] += 1
        message = self._outcome(action)
        if self.marker.exists():
            self.counts["executed"] += 1
            pytest.fail("the input ran code")
        self.counts["refused" if message else "read"] += 1
        if message:
            assert str(names) in message
        assert message or not refused, "a bad input was taken"
        return message

    def _outcome(self, action: Callable[[], Any]) -> str:
        def stop(*_: Any) -> None:
            raise Hung

        before = [signal.signal(each, stop) for each in (signal.SIGALRM, signal.SIGPROF)]
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.alarm(SECONDS)
        try:
            action()
        except MedbenchError as error:
            return str(error) or "refused without a word"
        except Hung:
            self.counts["hung"] += 1
            raise AssertionError("hung") from None
        except Exception:
            self.counts["crashed"] += 1
            raise
        finally:
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            for each, handler in zip((signal.SIGALRM, signal.SIGPROF), before, strict=True):
                signal.signal(each, handler)
        return ""


class CommandFailed(MedbenchError):
    """What a command printed before it ended with a code other than 0."""


@pytest.fixture
def marker(tmp_path) -> Path:
    """A folder that is made if an input gets to run code."""
    return tmp_path / "executed"


@pytest.fixture
def attempt(request, marker) -> Attempt:
    return Attempt(request.config.stash.setdefault(COUNTS, Counter()), marker)


@pytest.fixture
def command(capsys) -> Callable[..., None]:
    """command("run", …): as a user types it; raises what it prints if it fails."""

    def run(*words: object) -> None:
        capsys.readouterr()
        code = invoke([str(word) for word in words])
        shown = capsys.readouterr()
        if code in _FAILURES:
            raise CommandFailed(shown.out + shown.err)
        assert code == 0, f"exit code {code}: {shown.err}"

    return run


class RunsCode:
    """An object whose pickle makes a folder when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return (os.mkdir, (self.marker,))


@pytest.fixture
def runs_code(marker) -> RunsCode:
    return RunsCode(marker)


@pytest.fixture(scope="session")
def fuzz() -> ModuleType:
    """`benchmarks/fuzz.py`: parsers with valid files, and how these are changed."""
    folder = Path(__file__).parents[2] / "benchmarks"
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location("fuzz", folder / "fuzz.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


def pytest_sessionfinish(session) -> None:
    """A worker of pytest-xdist hands its counts to the process that prints."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["bad_inputs"] = dict(session.config.stash.get(COUNTS, Counter()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node) -> None:
    found = getattr(node, "workeroutput", {}).get("bad_inputs", {})
    node.config.stash.setdefault(COUNTS, Counter()).update(found)


def pytest_terminal_summary(terminalreporter, config) -> None:
    counts = config.stash.get(COUNTS, Counter())
    if counts:
        told = ", ".join(f"{name} {counts[name]:,}" for name in OUTCOMES)
        terminalreporter.write_line(f"bad inputs: {told}")
