"""The jobs that are disturbed, each in a process of its own: tasks, training, curation, ingest.

A process is forked from this one, which has imported what all of them need: that is what makes
hundreds of them affordable. From there on it is the command, until it ends or is killed.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from medbench.__main__ import invoke
from medbench.harness.datasets.store import ingest
from medbench.harness.registry import load_dataset

_LIMIT_SECONDS = 3600.0


def _ingest(arguments: list[str]) -> int:
    ingest(load_dataset(arguments[0]))
    return 0


@dataclass(frozen=True, slots=True)
class Job:
    """A command with a folder for what it makes.

    Attributes:
        name: of the job.
        arguments: of the command; `{out}` and `{data}` are the folders.
        again: what is added where the command goes on.
        call: the command.
    """

    name: str
    arguments: tuple[str, ...]
    again: tuple[str, ...] = ()
    call: Callable[[list[str]], int] = invoke


def _run(task: str, tokenizer: str, dataset: str, *more: str) -> Job:
    what = ("--task", task, "--tokenizer", tokenizer, "--dataset", dataset)
    return Job(task, ("run", *what, "--device", "cpu", "--output", "{out}", *more))


_BOTH = "union:npz@mri:{data}/mri.npz,npz@xray:{data}/xray.npz"
RECON = _run("recon", "down16", _BOTH)
PROBE = _run("probe", "down16", _BOTH)
SYNTHESIS = _run("synthesis", "meditok", _BOTH, "--preset", "smoke")
VQA = _run("vqa", "meditok", "medsynth", "--preset", "smoke", "--limit", "2")
TRAIN = Job("train", ("train", "smoke", "--device", "cpu", "--output", "{out}"), ("--resume",))
CURATE = Job("curate", ("data", "curate", "{data}/files", "--output", "{out}", "--workers", "1"))
INGEST = Job("ingest", ("folder:{data}/files",), call=_ingest)
JOBS = (RECON, PROBE, SYNTHESIS, VQA, TRAIN, CURATE, INGEST)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    Attributes:
        code: exit code; negative: the signal that ended it.
        errors: what it wrote on standard error.
    """

    code: int
    errors: str

    @property
    def killed(self) -> bool:
        """By SIGKILL."""
        return self.code == -signal.SIGKILL

    def said(self, *words: str) -> bool:
        """Whether it ended by itself, with one of these words among its last ones."""
        tail = self.errors[-3000:].lower()
        return self.code > 0 and any(word.lower() in tail for word in words)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a job runs.

    Attributes:
        data: folder of the data.
        out: what it makes.
        cache: its own cache.
        environment: further variables.
    """

    data: Path
    out: Path
    cache: Path
    environment: Mapping[str, str]

    def under(self, root: Path, **settings: object) -> Scene:
        """The same on a bad machine; settings as in `shim.c`."""
        variables = {f"ENDURANCE_{name}": str(value) for name, value in settings.items()}
        added = {"ENDURANCE_ROOT": str(root), **variables}
        return replace(self, environment={**self.environment, **added})


@dataclass(frozen=True, slots=True)
class Started:
    """A running job.

    Attributes:
        pid: of its process.
        log: of its standard error.
    """

    pid: int
    log: Path

    def errors(self) -> str:
        """What it wrote on standard error until now."""
        return self.log.read_text(errors="replace")

    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def ended(self, *, kill_after: float = _LIMIT_SECONDS) -> Ended:
        """Wait for it; where it still runs after so many seconds, it is killed."""
        end = time.monotonic() + kill_after
        while self.runs() and time.monotonic() < end:
            time.sleep(0.01)
        if self.runs():
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        return Ended(os.waitstatus_to_exitcode(status), self.errors())


def start(job: Job, scene: Scene, *, again: bool = False, more_bytes: int | None = None) -> Started:
    """Start the job in its scene; `more_bytes`: of memory that it can have, beside its code."""
    given = (*job.arguments, *(job.again if again else ()))
    arguments = [each.format(out=scene.out, data=scene.data) for each in given]
    scene.cache.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".log", f"{job.name}-", scene.cache.parent)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        own = {"MEDBENCH_CACHE": str(scene.cache), "HF_HUB_OFFLINE": "1"}
        _become(job.call, arguments, {**own, **scene.environment}, handle, more_bytes)
    os.close(handle)
    return Started(pid, Path(name))


def _become(
    call: Callable[[list[str]], int],
    arguments: list[str],
    environment: Mapping[str, str],
    log: int,
    more_bytes: int | None,
) -> NoReturn:
    """Be the command, in the forked process."""
    code: object = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(log, 2)
        sys.argv = ["medbench", *arguments]
        sys.path.insert(0, environment.get("PYTHONPATH", ""))
        if more_bytes is not None:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + more_bytes
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        os.environ.update(environment)
        code = call(arguments)
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


def run(job: Job, scene: Scene, *, again: bool = False) -> Ended:
    """Start the job and wait for its end."""
    return start(job, scene, again=again).ended()
