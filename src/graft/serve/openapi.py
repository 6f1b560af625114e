"""The OpenAPI document: what BentoML writes knows neither of forms with several files nor of what is refused how."""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped]
from pydantic.json_schema import models_json_schema

from graft import __version__
from graft.serve.answers import Answer, BatchAnswer, Card, Readiness, Refusal
from graft.serve.feedback import Correction

_JSON = "application/json"
_REF = "#/components/schemas/{model}"
_REFUSALS = {
    400: "what was sent cannot be used; the error says why",
    401: "the API key is missing or wrong",
    403: "asked by another name, or by a web page of another site",
    404: "there is no such answer",
    408: "the request did not arrive in time",
    413: "the upload is too large",
    429: "too many requests are waiting; Retry-After says when to come again",
    503: "the service cannot do it now",
}
_TOP_K = {
    "name": "top_k",
    "in": "query",
    "required": False,
    "description": "how many classes the answer names; all where it is not given",
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}
_FILE = {"type": "string", "format": "binary"}


class Document:
    """OpenAPI 3.1 of the service, in the shape that BentoML asks for."""

    def asdict(self) -> dict[str, Any]:
        """The document."""
        _, schemas = models_json_schema(
            [(model, "serialization") for model in (Answer, BatchAnswer, Card, Correction, Readiness, Refusal)],
            ref_template=_REF,
        )
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "graft",
                "version": __version__,
                "description": "The classifier that graft made: what is in an image, and how sure it is.",
            },
            "servers": [{"url": "."}],
            "security": [{}, {"key": []}, {"header": []}],
            "paths": {
                "/predict": {"post": _predict()},
                "/predict_batch": {"post": _predict_batch()},
                "/feedback": {"post": _feedback()},
                "/model": {"get": _read("model", "The model's card", _shape("Card"))},
                "/metrics": {"get": _read("metrics", "Figures for Prometheus", _text())},
                "/livez": {"get": _read("livez", "The process is alive", _text())},
                "/readyz": {"get": _read("readyz", "The model is loaded, and by what it runs", _shape("Readiness"))},
            },
            "components": {
                "schemas": schemas["$defs"],
                "securitySchemes": {
                    "key": {"type": "http", "scheme": "bearer"},
                    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                },
            },
        }


# `bentoml build` writes the document into the Bento.
yaml.add_representer(Document, lambda dumper, document: dumper.represent_dict(document.asdict()))


def _predict() -> dict[str, Any]:
    form = {"type": "object", "required": ["image"], "properties": {"image": _FILE}}
    return {
        "operationId": "predict",
        "summary": "What is in one image",
        "parameters": [_TOP_K],
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": _responses("Answer", 400, 401, 403, 408, 413, 429, 503),
    }


def _predict_batch() -> dict[str, Any]:
    # One of the two. Said by `oneOf`, generators of clients send neither as a form.
    form = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {"image": {"type": "array", "items": _FILE, "minItems": 1}, "archive": _FILE},
    }
    return {
        "operationId": "predict_batch",
        "summary": "What is in each of many images, or of the images of a zip",
        "parameters": [_TOP_K],
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
        "responses": _responses("BatchAnswer", 400, 401, 403, 408, 413, 429, 503),
    }


def _feedback() -> dict[str, Any]:
    body = {"schema": {"$ref": _REF.format(model="Correction")}}
    return {
        "operationId": "feedback",
        "summary": "The right label of an answer",
        "requestBody": {"required": True, "content": {_JSON: body}},
        "responses": _responses("Correction", 400, 401, 403, 404, 408, 413, 429, 503),
    }


def _responses(model: str, *refusals: int) -> dict[str, Any]:
    refused = _shape("Refusal")
    return {
        "200": {"description": "done", "content": _shape(model)},
        **{str(status): {"description": _REFUSALS[status], "content": refused} for status in refusals},
    }


def _shape(model: str) -> dict[str, Any]:
    return {_JSON: {"schema": {"$ref": _REF.format(model=model)}}}


def _read(name: str, summary: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "done", "content": content}},
    }


def _text() -> dict[str, Any]:
    return {"text/plain": {"schema": {"type": "string"}}}
