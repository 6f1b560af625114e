"""Short facts for page and card, each a name and a value: what it costs, what the data are, what the model is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graft.evaluate import wording
from graft.evaluate.wording import cell

if TYPE_CHECKING:
    from graft.artifact import Artifact
    from graft.evaluate.cost import Cost
    from graft.evaluate.result import Evaluation
    from graft.zoo.preprocessing import Geometry

Facts = list[tuple[str, str]]


def costs(cost: Cost) -> Facts:
    """What a prediction costs."""
    memory = cost.peak_memory_mb
    return [
        ("Time per image, median", wording.milliseconds(cost.latency_ms)),
        ("Time per image, 95% under", wording.milliseconds(cost.latency_p95_ms)),
        (f"Images a second, batches of {cost.batch}", wording.number(round(cost.images_per_s))),
        ("Time to load", wording.milliseconds(cost.load_ms)),
        ("Peak memory", f"not measured: {cost.reason}" if memory is None else wording.megabytes(memory)),
        ("model.safetensors", wording.megabytes(cost.size_mb)),
        ("Parameters", f"{cost.parameters:,}"),
        ("GMACs per image", f"{cost.gmacs:.3g}"),
    ]


def data(found: Evaluation, excluded: int | None) -> Facts:
    """How many images there are on which side; ``excluded`` None where it is not known."""
    held_out = found.held_out
    train, test = held_out.n_train, held_out.n_test
    return [
        ("Classes", f"{len(held_out.classes):,}"),
        ("Training images", f"{int(train.sum()):,}"),
        ("Training images per class", _range(int(train.min()), int(train.max()))),
        ("Test images", f"{len(held_out.labels):,}"),
        ("Test images per class", _range(int(test.min()), int(test.max()))),
        ("Left out", "not known" if excluded is None else f"{excluded:,}"),
    ]


def model(artifact: Artifact) -> Facts:
    """What the network is and what it came from."""
    geometry = artifact.preprocessing.geometry
    facts = [
        ("Network", artifact.arch),
        ("Started from", artifact.weights),
        ("Cut", "not cut" if artifact.depth is None else f"after block {artifact.depth} (counted from 0)"),
        ("Input", f"{geometry.size} × {geometry.size} px, {geometry.interpolation}, {_fit(geometry)}"),
        ("sha256 of the weights", _short(artifact.sha256)),
    ]
    plain = {name: value for name, value in artifact.provenance.items() if isinstance(value, (str, int, float))}
    return facts + [(name.replace("_", " "), _short(cell(value))) for name, value in plain.items()]


def _fit(geometry: Geometry) -> str:
    names = {"crop": f"centre {geometry.crop:.1%}", "pad": "filled up", "squash": "stretched"}
    return names[geometry.fit]


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _short(text: str) -> str:
    """A hash is told by its beginning."""
    return text if len(text) < 40 else f"{text[:16]}…"
