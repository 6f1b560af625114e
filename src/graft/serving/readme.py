"""The README of a Bento: requests, limits, the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graft.core.errors import WeightsError
from graft.core.workspace import Workspace
from graft.inference.artifact import Artifact, read_artifact
from graft.inference.package import PackagedModel, read_package
from graft.serving.settings import VARIABLES

_LIMITS = ("GRAFT_MAX_BODY", "GRAFT_WORKERS")
_TEXT = """\
# {tag}: what is in an image

An HTTP service that {answers}.
It was made by graft and runs by ONNX Runtime on a CPU.

## Ask it

```sh
bentoml serve graft_classifier:latest         # or: bentoml containerize graft_classifier:latest
curl -F image=@photo.jpg http://127.0.0.1:3000/predict
curl -F archive=@photos.zip http://127.0.0.1:3000/predict_batch
curl http://127.0.0.1:3000/model              # what is known of the model
```

`http://127.0.0.1:3000/` is a page for people, `/docs.json` the OpenAPI document; `/livez`, `/readyz` and `/metrics`
are for monitors. `POST /feedback` takes the right label of a prediction where `GRAFT_PREDICTION_LOG` names a file.

Only the same machine can ask, unless the service is started with `--host 0.0.0.0`, as it is in a container. It asks
for `GRAFT_API_KEY` then, sent as `Authorization: Bearer KEY`. It speaks plain HTTP: put a proxy with TLS before it.

## Limits

It answers with one of its classes whatever the image shows. `unsure` marks answers that are not to be relied on, and a
`novelty` over 1 an image unlike those that it was trained on. It reads JPEG, PNG, WebP, HEIC, BMP, GIF and TIFF.

| variable | default | meaning |
|---|---|---|
{limits}

## The model

| | |
|---|---|
{facts}

The figures are from test images that the training never saw, drawn from the same source; on others it can be worse.
"""


def readme_of(root: Path) -> str | None:
    """The README of a Bento of the project in ``root``; None where there is no packaged model."""
    folder = Workspace(root).production_model
    try:
        artifact, package = read_artifact(folder), read_package(folder)
    except WeightsError:
        return None
    limits = [one for one in VARIABLES if one.name in _LIMITS]
    return _TEXT.format(
        tag=package.tag,
        answers=_answers(artifact),
        limits="\n".join(f"| `{one.name}` | `{one.default}` | {one.meaning} |" for one in limits),
        facts="\n".join(f"| {name} | {value} |" for name, value in _facts(artifact, package).items() if value),
    )


def _facts(artifact: Artifact, package: PackagedModel) -> Mapping[str, Any]:
    metrics, threshold = package.metrics, artifact.trust.threshold
    bounds = metrics.get("accuracy_ci95")
    spread = f" (95%: {bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
    tested = metrics.get("n_test")
    return {
        "model": f"`{package.tag}`",
        "network": f"`{artifact.arch}`, trained from `{artifact.weights}`",
        "classes": ", ".join(f"`{_cell(name)}`" for name in artifact.classes),
        "input": artifact.preprocessing.describe(),
        "training images": artifact.provenance.get("train_images"),
        "test images": tested,
        "accuracy": f"{metrics['accuracy']:.3f}{spread}" if "accuracy" in metrics else None,
        "macro F1": f"{metrics['macro_f1']:.3f}" if "macro_f1" in metrics else None,
        "not sure under": f"{threshold.confidence:.2f}" if artifact.classes else None,
        "data": package.origin.get("data"),
        "settings": package.origin.get("params"),
        "commit": package.origin.get("commit"),
    }


def _answers(artifact: Artifact) -> str:
    if not artifact.classes:
        return f"answers for an image (task: {artifact.task})"
    shown = f"{len(artifact.classes)} classes ({_few(artifact.classes)})"
    return f"names what an image shows, one of {shown}, with calibrated probabilities"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")


def _few(classes: tuple[str, ...]) -> str:
    shown = ", ".join(map(_cell, classes[:5]))
    return shown + (", ..." if len(classes) > 5 else "")
