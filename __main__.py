"""The command line: `medbench` and `python -m medbench` are the same."""

from __future__ import annotations

import importlib
import logging
import os
import sys

_VERBS = (
    "medbench.harness.cli",
    "medbench.harness.weights_cli",
    "medbench.harness.data_cli",
    "medbench.harness.cache_cli",
    "medbench.harness.training.cli",
    "medbench.harness.sweep.cli",
    "medbench.tasks.cli",
    "medbench.leaderboard.cli",
)


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    sys.exit(int(invoke(arguments)))


def invoke(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; errors of the user's making get no traceback."""
    import typer

    from medbench.harness.errors import ExitCode, MedbenchError

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "httpcore", "PIL", "timm"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    app = typer.Typer(
        name="medbench",
        help="Evaluate visual tokenizers for medical images.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def options() -> None:
        pass

    for module in _VERBS:
        importlib.import_module(module).register(app)
    try:
        app(args=arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(ExitCode.OK)
    except MedbenchError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return int(error.exit_code)
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; keep Python's shutdown from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)


if __name__ == "__main__":
    main()
