from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bundles
import jsonschema
import pytest
import servers
from servers import Asked


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("bundles")
    paths = [f"{name}={getattr(bundles, name)(folder / name)}" for name in ("table", "text", "pictures", "tensors")]
    with servers.asked(folder, *paths) as made:
        yield made


def resolved(document: dict[str, Any], reference: str) -> dict[str, Any]:
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [r for value in node.values() for r in references(value)]
    return [r for value in node for r in references(value)] if isinstance(node, list) else []


def test_every_reference_leads_somewhere_and_every_schema_is_one(app: Asked) -> None:
    document = servers.ask(app, "GET", "/openapi.json").json
    assert document["openapi"] == "3.1.0" and len(references(document)) > 8
    for reference in references(document):
        resolved(document, reference)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("model", "record"), [("table", bundles.RECORD), ("text", {"text": "a"}), ("tensors", {"x": [[1, 2, 3]]})]
)
def test_what_the_document_promises_is_what_comes(model: str, record: Any, app: Asked) -> None:
    document = servers.ask(app, "GET", "/openapi.json").json
    schemas = document["components"]["schemas"]
    jsonschema.validate(record, schemas[f"{model}.record"])
    found = servers.ask(app, "POST", f"/v1/models/{model}:predict", record)
    way = document["paths"][f"/v1/models/{model}:predict"]["post"]["responses"]
    answer = way["200"]["content"]["application/json"]["schema"]
    assert set(answer["required"]) == set(found.json)
    jsonschema.validate(found.json["predictions"][0], schemas[f"{model}.answer"])
    problem = servers.ask(app, "POST", f"/v1/models/{model}:predict", {})
    assert str(problem.status) in way
    jsonschema.validate(problem.json, schemas["Problem"])
