"""What one would write in an afternoon: a model behind FastAPI, run by eager torch. serving.py measures against it.

`uvicorn plain_service:app --app-dir benchmarks`, with `PLAIN_MODEL` the folder of the model and, if wanted,
`PLAIN_THREADS` torch's threads. Nothing here is slow on purpose: the model is in eval mode, without gradients, and the
endpoint runs in FastAPI's threads, so that decoding and computing overlap.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import torch
from fastapi import FastAPI, File, UploadFile
from PIL import Image

from graft.core.compat.torchvision import v2
from graft.inference.artifact import load_artifact

if threads := os.environ.get("PLAIN_THREADS"):
    torch.set_num_threads(int(threads))

artifact, model = load_artifact(Path(os.environ["PLAIN_MODEL"]))
model.eval()
geometry = artifact.preprocessing.geometry
prepare = v2.Compose(
    [
        v2.Resize(geometry.least_side, interpolation=v2.InterpolationMode[geometry.interpolation.upper()]),
        v2.CenterCrop(geometry.size),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(artifact.preprocessing.mean, artifact.preprocessing.std),
    ]
)
app = FastAPI()


@app.post("/predict")
def predict(image: UploadFile = File()) -> dict[str, object]:  # noqa: B008  # FastAPI's way of asking for a file
    """Label and probabilities of one image."""
    with torch.no_grad():
        pixels = prepare(Image.open(io.BytesIO(image.file.read())).convert("RGB"))
        probabilities = torch.softmax(model(pixels.unsqueeze(0)), dim=1)[0].tolist()
    ranked = dict(zip(artifact.classes, probabilities, strict=True))
    return {"label": max(ranked, key=lambda name: ranked[name]), "probabilities": ranked}


@app.get("/readyz")
def readyz() -> dict[str, bool]:
    """Asked for until it answers."""
    return {"ready": True}
