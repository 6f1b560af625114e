"""`graft ...`: the commands for a terminal. Everything heavy is imported inside the command that uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from graft.core.compat.malloc import keep_freed_memory
from graft.core.compat.openmp import wait_briefly
from graft.core.exit_code import exit_code

_PRODUCTION = "the production model: models/promoted, else models/packaged"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # joins the lines of a paragraph, whatever the terminal's width
    help="Transfer learning for images in folders, with the proof beside the model.",
)
weights_app = typer.Typer(no_args_is_help=True, help="Have weights on this machine, converted and verified.")
app.add_typer(weights_app, name="weights")
registry_app = typer.Typer(no_args_is_help=True, help="Look after the models and data that DVC keeps.")
app.add_typer(registry_app, name="registry")


def main() -> None:
    """The entry point."""
    wait_briefly()
    keep_freed_memory()
    app()


def _finish(work: Callable[[], object]) -> NoReturn:
    raise typer.Exit(exit_code(work))


@app.command()
def doctor(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DIR", help="a folder of images, a .csv or .parquet table, digits, or torchvision:<Dataset>"
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
    fix: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="write a cleaned copy, a .csv or .parquet table, and a log of every change"),
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="read links that lead out of the folder")
    ] = False,
    label_from: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="a regular expression whose one group is the label in a file's path, in place of data.label_from",
        ),
    ] = None,
) -> None:
    """Audit a folder or table of images; exit code 1 if training on it would be refused.

    It is checked by the params.yaml of the project around the current folder, else by graft's defaults. With --fix the
    exit code is about the cleaned copy. The original is never touched.
    """
    from graft.cli.doctor import run_doctor

    codes: list[int] = []
    code = exit_code(lambda: codes.append(run_doctor(source, json, fix, follow_links, label_from)))
    raise typer.Exit(code or codes[0])


@app.command()
def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="image files, folders, patterns such as 'photos/**/*.jpg', or - for a list on stdin"
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="print one JSON object per file")] = False,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="write the answers there as a table, a row per file")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="the model's folder", show_default=_PRODUCTION)] = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="ask the service there, such as http://127.0.0.1:3000, instead of a model"),
    ] = None,
) -> None:
    """Predict the class of image files, with probabilities, by the production model.

    That is the promoted model, or before the first promotion the packaged one; the service uses the same.

    A file that cannot be decoded is named, the others are predicted, and the exit code is 1. With --url the files are
    sent to a service of graft; a key that it asks for is taken from GRAFT_API_KEY.
    """
    from graft.cli.predict import ask_service, predict_files

    if to is not None and to.suffix.lower() != ".parquet":
        raise typer.BadParameter(f"--to writes a table, whose name ends in .parquet, not {to.name}")
    if url is None:
        _finish(lambda: predict_files(paths, model, json, to))
    if model is not None:
        raise typer.BadParameter("--model and --url exclude each other: a service has a model of its own")
    _finish(lambda: ask_service(paths, url, json, to))


@app.command()
def evaluate(
    data: Annotated[
        str, typer.Option(metavar="DIR", help="a folder of images, a table, digits, or torchvision:<Dataset>")
    ],
    model: Annotated[Path | None, typer.Option(help="the model's folder", show_default=_PRODUCTION)] = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="write the figures and tables there too")] = None,
) -> None:
    """Evaluate the production model, or another, on labelled images; on their test side where they are divided.

    Classes are matched by name. Images that cannot be decoded are listed, the others are measured, and the exit code
    is 1.
    """
    from graft.cli.evaluate import evaluate_model

    _finish(lambda: evaluate_model(model, data, json, out))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="MODEL", help="a model's folder")],
    second: Annotated[Path, typer.Argument(metavar="MODEL", help="another one, which knows the same classes")],
    data: Annotated[
        str, typer.Option(metavar="DIR", help="the images: a folder, a table, digits, or torchvision:<Dataset>")
    ],
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Measure two models on the same labelled images, with the paired test.

    Images that cannot be decoded are listed, the models are measured on the others, and the exit code is 1.
    """
    from graft.cli.compare import compare_models

    _finish(lambda: compare_models(first, second, data, json))


@app.command("rank")
def rank_candidates(
    sources: Annotated[
        list[str], typer.Argument(metavar="DATA...", help="folders, tables, digits, torchvision:<Dataset>")
    ],
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Rank the candidates of params.yaml on several data sets, by a linear head on frozen features.

    Each is scored on the training part of each data set, divided as params.yaml says.
    """
    from graft.cli.rank import rank_candidates

    _finish(lambda: rank_candidates(sources, json))


@app.command()
def zoo(
    pattern: Annotated[str, typer.Argument(help="names to list, such as `'resnet*'` or `'timm:*lite*'`")] = "*",
    json: Annotated[bool, typer.Option("--json", help="print one JSON object per architecture")] = False,
) -> None:
    """List the architectures that can be named, with parameters, size, input, licence, and whether weights are here."""
    from graft.cli.zoo import list_zoo

    _finish(lambda: list_zoo(pattern, json))


@app.command()
def presets(
    json: Annotated[
        bool, typer.Option("--json", help="print one JSON object: by key its value in each preset")
    ] = False,
) -> None:
    """List the settings that each preset (`preset` in params.yaml) stands for."""
    from graft.cli.presets import list_presets

    _finish(lambda: list_presets(json))


@app.command()
def promote(
    anyway: Annotated[bool, typer.Option("--anyway", help="even if it is not better")] = False,
) -> None:
    """Put the packaged model into use if it is better than the production model.

    DVC keeps its files; in git it is committed, and tagged by GTO as a version in the stage `production`. A running
    service reloads it.
    """
    from graft.cli.promotion import promote_model

    _finish(lambda: promote_model(anyway))


@app.command()
def rollback(
    to: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="its number in `graft history`; the previous one by default")
    ] = None,
) -> None:
    """Put the previously promoted model back into use, byte for byte, without training."""
    from graft.cli.promotion import rollback_model

    _finish(lambda: rollback_model(to))


@app.command()
def history(
    json: Annotated[bool, typer.Option("--json", help="print a JSON list, oldest first")] = False,
) -> None:
    """List promotions and rollbacks with the models' figures, newest first; the first is in use."""
    from graft.cli.promotion import show_history

    _finish(lambda: show_history(json))


@app.command()
def publish(
    to: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="a folder, s3://bucket/path, ...; the configured DVC remote by default"),
    ] = None,
) -> None:
    """Push data, the production model and all models before it to the DVC remote."""
    from graft.cli.promotion import publish_versions

    _finish(lambda: publish_versions(to))


@registry_app.command()
def verify() -> None:
    """Read every object back from DVC's cache and the remote, and compare its hash; exit code 1 if one is damaged."""
    from graft.cli.promotion import verify_versions

    _finish(verify_versions)


@weights_app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="architectures, such as resnet18 or resnet50:IMAGENET1K_V1")
    ],
) -> None:
    """Download weights for a time without a network.

    Prints for each: file, size, licence and sha256. Exit code 1 where any cannot be had.
    """
    from graft.cli.weights import fetch_weights

    _finish(lambda: fetch_weights(names))


if __name__ == "__main__":
    main()
