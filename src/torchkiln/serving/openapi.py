"""The description of the server's routes for machines: OpenAPI 3.1, made from the schemas of its models."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from torchkiln.serving.limits import Limits
from torchkiln.serving.model import Model
from torchkiln.serving.repository import Repository

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
    "required": ["title", "status", "detail"],
}
_WORDS = {
    "400": "The body cannot be read",
    "401": "No token that is known",
    "403": "The token has not the right",
    "404": "No such model, version or path",
    "405": "Another method",
    "413": "Too large, too many rows or pixels",
    "415": "A type or encoding that is not read",
    "422": "A record that does not fit the schema",
    "429": "The token's rate is spent",
    "431": "Headers too large",
    "500": "The model failed",
    "503": "Full, starting or draining; Retry-After says when to come again",
    "504": "The deadline passed",
}


def document(repository: Repository, limits: Limits, tokens: bool) -> dict[str, Any]:
    """The document.

    Args:
        repository: Whose models are described.
        limits: Of requests.
        tokens: Whether a token is asked for.
    """
    paths: dict[str, Any] = {
        "/livez": {"get": _plain("Whether the process lives", {"200": "It does"})},
        "/readyz": {"get": _plain("Whether the models answer as they were exported",
                                  {"200": "They do", "503": "They do not, and why"})},
        "/v1/models": {"get": _plain("Models, versions, limits and schemas", {"200": "The list"})},
    }  # fmt: skip
    schemas: dict[str, Any] = {"Problem": _PROBLEM}
    for name, model in repository.models.items():
        served = model.default
        if served is None:
            continue
        schema = served.bundle.schema
        schemas[f"{name}.record"] = schema.get("request") or {"type": "object"}
        schemas[f"{name}.answer"] = schema.get("response") or {"type": "object"}
        paths[f"/v1/models/{name}:predict"] = {"post": _predict(name, model, limits)}
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "torchkiln", "version": metadata.version("torchkiln")},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if tokens:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
    return made


def _predict(name: str, model: Model, limits: Limits) -> dict[str, Any]:
    record = {"$ref": f"#/components/schemas/{name}.record"}
    body = {"anyOf": [record, {"type": "array", "items": record, "minItems": 1, "maxItems": limits.rows}]}
    content: dict[str, Any] = {"application/json": {"schema": body}}
    served = model.default
    if served is not None and served.pictures:
        part = {"type": "object", "properties": {"picture": {"type": "string", "format": "binary"}}}
        content["multipart/form-data"] = {"schema": part}
        content |= {kind: {"schema": {"type": "string", "format": "binary"}}
                    for kind in ("image/jpeg", "image/png", "image/webp")}  # fmt: skip
    answer = {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": {"$ref": f"#/components/schemas/{name}.answer"}},
            "model": {"type": "string"},
            "version": {"type": "string"},
            "request_id": {"type": "string"},
        },
        "required": ["predictions", "model", "version", "request_id"],
    }
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "operationId": f"predict_{name}",
        "summary": f"Predictions of {name}",
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {"description": "A prediction for each record", "content": {"application/json": {"schema": answer}}},
            **{status: {"description": words, "content": problem} for status, words in _WORDS.items()},
        },
    }


def _plain(summary: str, answers: dict[str, str]) -> dict[str, Any]:
    responses = {status: {"description": words, "content": {"application/json": {}}}
                 for status, words in answers.items()}  # fmt: skip
    return {"summary": summary, "responses": responses}
