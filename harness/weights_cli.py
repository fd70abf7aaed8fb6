"""`medbench weights`: published weights, where they come from, and whether a file fits."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import MissingPrerequisite, UsageError, ValidationFailed

if TYPE_CHECKING:
    from .entries import HubFile
    from .tokenizer_registry import TokenizerChoice

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]


def register(app: typer.Typer) -> None:
    """Add the sub-commands to the command line."""
    weights = typer.Typer(help="Published weights: list, fetch, verify.", no_args_is_help=True)
    weights.command("list")(list_weights)
    weights.command()(fetch)
    weights.command()(verify)
    app.add_typer(weights, name="weights")


def list_weights(as_json: Json = False) -> None:
    """List published weights: where from, licence, size, and whether they are here."""
    from .listing import weights_rows, weights_text

    rows = weights_rows()
    typer.echo(json.dumps(rows, indent=1) if as_json else weights_text(rows))


def fetch(
    tokenizer: Annotated[str, typer.Argument(help="NAME@VARIANT, as `weights list` prints it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    convert: Annotated[
        bool, typer.Option(help="Convert a torch checkpoint to safetensors, once.")
    ] = True,
    offline: Annotated[bool, typer.Option("--offline", help="Refuse: nothing is fetched.")] = False,
) -> None:
    """Download the weights of one tokenizer; source, revision, licence and size are shown first."""
    from .entries import HubFile, ManualFile
    from .tokenizer_registry import choose_tokenizer

    choice = choose_tokenizer(tokenizer)
    source = choice.declared.weights if choice.declared else None
    if not isinstance(source, HubFile):
        manual = isinstance(source, ManualFile)
        why = f": download {source.place} by hand, then pass --weights PATH" if manual else ""
        message = f"{choice.full_name} has no weights that this command could fetch{why}"
        raise UsageError(message)
    size = f"{source.size_bytes / 1e9:.2f} GB" if source.size_bytes else "size unknown"
    typer.echo(
        f"{source.repository}/{source.filename} (revision {source.revision})\n"
        f"licence: {source.licence}; {size}; sha256 {source.sha256 or 'recorded on first use'}"
    )
    if offline:
        message = f"{choice.full_name}: --offline was given, so its weights are not fetched"
        raise MissingPrerequisite(message)
    if not yes:
        typer.confirm("Download?", abort=True)
    from .locate import fetch as download

    companions = choice.declared.companions if choice.declared else ()
    path = [download(each) for each in (*companions, source)][-1]
    typer.echo(str(path))
    if convert:
        _convert(choice, source, path)


def _convert(choice: TokenizerChoice, source: HubFile, path: Path) -> None:
    from .locate import converted_place
    from .weights_convert import convert
    from .weights_lock import record_conversion

    target = converted_place(source)
    if convert(path, target, prefer=choice.entry.wrappers):
        record_conversion(source, path, target)
        typer.echo(f"{target} (converted; it is used from now on, the original may be deleted)")


def verify(
    tokenizer: Annotated[
        str | None, typer.Argument(help="NAME@VARIANT; without it, all weights on this machine.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="A checkpoint of your own for NAME.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="JSON file (or text), in the model's own terms.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Load weights completely, reconstruct real sample images, and say which network they fit."""
    from .inputs import parse_config
    from .tokenizer_registry import choose_tokenizer

    if tokenizer is None and (weights or config):
        message = "--weights and --config go with a NAME: medbench weights verify NAME --weights …"
        raise UsageError(message)
    if tokenizer is not None:
        choices = [choose_tokenizer(tokenizer, config=parse_config(config), weights=weights)]
    else:
        from .listing import weights_rows

        here = [row["tokenizer"] for row in weights_rows() if row["state"] == "ready"]
        choices = [choose_tokenizer(name) for name in here]
    from .weights_verify import verify as check

    fits = [check(choice) for choice in choices]
    if as_json:
        rows = [{**asdict(f), "best": f.best.name, "verdict": f.verdict} for f in fits]
        typer.echo(json.dumps(rows, indent=1))
    else:
        for fit in fits:
            typer.echo(f"{fit.tokenizer}  sha256 {(fit.sha256 or 'none')[:12]}")
            for reading in fit.readings:
                mark = "  <- as it is read" if reading.declared else ""
                typer.echo(f"  {reading.name}: {reading.psnr_db:.2f} dB on sample{mark}")
            typer.echo(f"  mean colour: {fit.mean_colour_db:.2f} dB")
            typer.echo(f"  {fit.verdict}")
    wrong = [fit.tokenizer for fit in fits if fit.problem]
    if wrong:
        message = f"weights do not fit: {', '.join(wrong)}; the reasons are above"
        raise ValidationFailed(message)
