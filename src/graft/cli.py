"""`graft ...`: the commands for a terminal. Everything heavy is imported inside the command that uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from graft.errors import exit_code
from graft.threads import wait_briefly

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Transfer learning for images in folders, with the proof beside the model.",
)


def main() -> None:
    """The entry point."""
    wait_briefly()
    app()


def _finish(work: Callable[[], object]) -> None:
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
) -> None:
    """Say what is wrong with a folder or table of images; exit code 1 if training on it would be refused.

    With --fix the exit code is about the cleaned copy. The original is never touched.
    """
    from graft.command.doctor import examine

    codes: list[int] = []
    code = exit_code(lambda: codes.append(examine(source, json, fix, follow_links)))
    raise typer.Exit(code or codes[0])


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="image files")],
    json: Annotated[bool, typer.Option("--json", help="print one JSON object per file")] = False,
    model: Annotated[Path, typer.Option(help="the model's folder")] = Path("models/packaged"),
) -> None:
    """Name what is in image files, with probabilities, by the packaged model; say where it is not sure.

    A file that cannot be decoded is named, the others are answered, and the exit code is 1.
    """
    from graft.command.predict import predict_files

    _finish(lambda: predict_files(files, model, json))


@app.command()
def evaluate(
    data: Annotated[
        str, typer.Option(metavar="DIR", help="a folder of images, a table, digits, or torchvision:<Dataset>")
    ],
    model: Annotated[Path, typer.Option(help="the model's folder")] = Path("models/packaged"),
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="write the figures and tables there too")] = None,
) -> None:
    """Measure a model on labelled images, on their test side where they are divided.

    Classes are matched by name. Images that cannot be decoded are listed, the others are measured, and the exit code
    is 1.
    """
    from graft.command.evaluate import evaluate_model

    _finish(lambda: evaluate_model(model, data, json, out))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="MODEL_A", help="a model's folder")],
    second: Annotated[Path, typer.Argument(metavar="MODEL_B", help="another's")],
    data: Annotated[
        str, typer.Option(metavar="DIR", help="a folder of images, a table, digits, or torchvision:<Dataset>")
    ],
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show two models of the same classes side by side on the same images, and say which is better, if either.

    Images that cannot be decoded are listed, both are measured on the others, and the exit code is 1.
    """
    from graft.command.compare import compare_models

    _finish(lambda: compare_models(first, second, data, json))


@app.command()
def zoo(
    pattern: Annotated[str, typer.Argument(help="names to list, such as 'resnet*' or 'timm:*lite*'")] = "*",
    json: Annotated[bool, typer.Option("--json", help="print one JSON object per architecture")] = False,
) -> None:
    """List the architectures that can be named, with parameters, size, input, licence, and whether weights are here."""
    from graft.command.zoo import list_zoo

    _finish(lambda: list_zoo(pattern, json))


if __name__ == "__main__":
    main()
