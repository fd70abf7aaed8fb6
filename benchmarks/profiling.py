"""Where the time of one run goes: a tree of medbench's own functions with their share of the time.

    python benchmarks/profiling.py --task recon --dataset medsynth --limit 40 [--least 2]

Everything behind `profiling.py` that is not an option of this script goes to `medbench
run`. The run is made anew (`--force`) into a temporary results directory; what the cache holds is
used, so call it twice to see a run without ingest. Needs `pip install 'medbench[profile]'`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyinstrument

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(slots=True)
class Node:
    """A function of ours, with what it calls.

    Attributes:
        name: file and function.
        seconds: in it and below.
        children: functions of ours that it calls, directly or through libraries.
    """

    name: str
    seconds: float
    children: dict[str, Node] = field(default_factory=dict)


def tree_of(session: Any) -> Node:
    """Samples to a tree in which only functions of ours have a place."""
    root = Node("everything", 0.0)

    def walk(frame: Any, parent: Node) -> None:
        path = Path(frame.file_path or "")
        node = parent
        if path.is_relative_to(PACKAGE) and ".venv" not in path.parts and path.suffix == ".py":
            name = f"{path.relative_to(PACKAGE)}: {frame.function}"
            if name != parent.name:  # a comprehension or a wrapper is no level of its own
                node = parent.children.setdefault(name, Node(name, 0.0))
            node.seconds += frame.time if node is not parent else 0.0
        for child in frame.children:
            walk(child, node)

    frame = session.root_frame()
    root.seconds = frame.time
    walk(frame, root)
    return root


def lines(node: Node, whole: float, least: float, depth: int = 0) -> Iterator[str]:
    """A line per function with at least that share; a chain of single calls is its last."""
    shown = sorted(
        (child for child in node.children.values() if child.seconds >= least * whole),
        key=lambda child: -child.seconds,
    )
    single = len(shown) == 1 and shown[0].seconds > 0.97 * node.seconds
    if not single:
        share = 100 * node.seconds / whole
        yield f"{share:5.1f}%  {node.seconds:7.1f} s  {'  ' * depth}{node.name}"
    for child in shown:
        yield from lines(child, whole, least, depth + (not single))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--least", type=float, default=2.0, help="per cent of the time (2)")
    own, given = parser.parse_known_args()
    from medbench.__main__ import main as command

    with tempfile.TemporaryDirectory() as results:
        sys.argv = ["medbench", "run", *given, "--force", "--output", results]
        profiler = pyinstrument.Profiler(interval=0.005, async_mode="disabled")
        profiler.start()
        try:
            command()
        except SystemExit as ended:
            if ended.code:
                raise
        session = profiler.stop()
    sys.stderr.write(f"{session.duration:.1f} s, of the processor {session.cpu_time:.1f} s\n")
    tree = tree_of(session)
    sys.stdout.write("\n".join(lines(tree, tree.seconds, own.least / 100)) + "\n")


if __name__ == "__main__":
    main()
