"""What the VQA task measures: tokenizers over several seeds of the tuning, against the blind twin.

    python benchmarks/vqa.py outline [--preset paper]
    python benchmarks/vqa.py seeds NAME … [--preset tiny] [--seeds 3] [--limit 24]

`outline` prints a preset's prompt, stages, parameters and learning rates, and trains nothing.
`seeds` runs the cells (finished ones are answered from their records) and prints overall accuracy,
mean ± standard deviation over the seeds, with and without images, for all questions and by class.
A tokenizer carries what is asked for if both means are further apart than the deviations' sum.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from medbench.harness.record import Record
from medbench.harness.runner import run
from medbench.tasks.vqa.outline import outline
from medbench.tasks.vqa.presets import PRESETS


def seeds(names: list[str], options: argparse.Namespace) -> None:
    """Run the cells and print the table."""
    print("| tokenizer | questions | with images | blind | shuffled | beats blind |")
    print("|---|---|---|---|---|---|")
    for name in names:
        records = [
            run(
                name,
                "vqa",
                dataset=options.dataset,
                limit=options.limit,
                output=options.output,
                seed=seed,
                options={"preset": options.preset},
            )[0]
            for seed in range(options.seeds)
        ]
        groups = [m.group for m in records[0].metrics if m.group.startswith("topic:")]
        for group in ["all", *dict.fromkeys(groups)]:
            print(row(name, group, records))


def row(name: str, group: str, records: list[Record]) -> str:
    """One line of the table."""
    means, spreads = {}, {}
    for setting in ("", "blind", "shuffled"):
        values = [found.value for r in records if (found := r.metric("overall", group, setting))]
        known = [value for value in values if value is not None]
        means[setting] = statistics.fmean(known)
        spreads[setting] = statistics.stdev(known) if len(known) > 1 else 0.0
    beats = means[""] - means["blind"] > spreads[""] + spreads["blind"]
    cells = [f"{means[s]:.3f} ± {spreads[s]:.3f}" for s in ("", "blind", "shuffled")]
    return f"| {name} | {group} | {' | '.join(cells)} | {'yes' if beats else 'no'} |"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["outline", "seeds"])
    parser.add_argument("names", nargs="*", default=["meditok"])
    parser.add_argument("--preset", default="")
    parser.add_argument("--dataset", default="medsynth")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=24)
    parser.add_argument("--output", type=Path, default=Path("results"))
    options = parser.parse_args()
    options.preset = options.preset or ("paper" if options.what == "outline" else "tiny")
    if options.what == "outline":
        print(outline(PRESETS[options.preset]))
    else:
        seeds(options.names, options)


if __name__ == "__main__":
    main()
