from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import bundles
import pytest
import servers
from servers import Asked

READER, ADMIN = "reader-0123456789", "admin-0123456789a"
PREDICT = "/v1/models/net:predict"
X = {"x": [[1, 2, 3]]}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for version in ("1", "2"):
        bundles.tensors(tmp_path / "models" / "net" / version)
    return tmp_path / "models"


@pytest.fixture
def app(models: Path, tmp_path: Path) -> Iterator[Asked]:
    with servers.asked(tmp_path, models, versions="all") as made:
        yield made


def test_health(app: Asked) -> None:
    assert servers.ask(app, "GET", "/livez").status == 200
    assert servers.ask(app, "GET", "/readyz").json == {"ready": True}
    assert servers.ask(app, "GET", "/v2/health/ready").status == 200
    app.worker.fleet.beat(0, False, 0)
    found = servers.ask(app, "GET", "/readyz")
    assert (found.status, found.headers["retry-after"]) == (503, "1") and "worker 0" in found.json["reason"]


def test_a_wrong_answer_is_seen_and_asked_for_once_a_second(app: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    served = app.worker.app.repository.models["net"].loaded["2"]
    asked = []

    async def check(deadline: float) -> str | None:
        asked.append(deadline)
        return "it is wrong"

    while servers.ask(app, "GET", "/readyz").status != 200:  # a machine that stood still is not ready either
        time.sleep(0.1)
    time.sleep(1.1)  # until it may be asked again
    monkeypatch.setattr(served, "check", check)
    assert [servers.ask(app, "GET", "/readyz").status for _ in range(5)] == [503] * 5
    assert len(asked) == 1


def test_counts(app: Asked) -> None:
    servers.ask(app, "POST", PREDICT, X)
    servers.ask(app, "POST", PREDICT, b"")
    text = servers.ask(app, "GET", "/metrics").body.decode()
    for status in ("200", "400"):
        assert f'torchkiln_requests_total{{model="net",version="2",status="{status}"}} 1' in text
    for what in ("queue", "codec", "model", "total"):
        assert f'torchkiln_{what}_seconds_count{{model="net",version="2"}}' in text
    assert "torchkiln_restarts_total 0" in text and 'torchkiln_batch_rows_sum{model="net",version="2"} 1' in text


def test_what_there_is(app: Asked) -> None:
    found = servers.ask(app, "GET", "/v1/models/net").json
    assert found["default"] == "2" and [v["state"] for v in found["versions"]] == ["READY"] * 2
    assert found["limits"]["body_mb"] == 16 and found["schema"]["request"]["properties"]["x"]
    assert servers.ask(app, "GET", "/v1/models").json["models"] == [found]
    assert servers.ask(app, "GET", "/v1/models/other").status == 404
    assert servers.ask(app, "GET", "/").headers["content-security-policy"].startswith("default-src 'none'")


def test_orders(app: Asked) -> None:
    wish = {"aliases": {"default": "1", "stable": "2"}}
    assert servers.ask(app, "PUT", "/v1/models/net/routing", wish).json["default"] == "1"
    assert servers.ask(app, "POST", PREDICT, X).json["version"] == "1"
    assert servers.ask(app, "POST", "/v1/models/net/versions/stable:predict", X).json["version"] == "2"
    assert servers.ask(app, "PUT", "/v1/models/net/routing", {"aliases": {"default": "9"}}).status == 422
    assert servers.ask(app, "PUT", "/v1/models/net/routing", b"{").status == 400
    assert servers.ask(app, "POST", "/v1/models/net:unload").status == 200
    assert servers.ask(app, "POST", PREDICT, X).status == 503
    assert servers.ask(app, "POST", "/v1/models/net:load").json["default"] == "1"
    assert servers.ask(app, "POST", "/v2/repository/models/x/load").status == 404
    assert [order["do"] for order in app.worker.fleet.orders(0)] == ["route", "unload", "load"]


def test_a_shadow_is_compared_and_never_returned(app: Asked) -> None:
    servers.ask(app, "PUT", "/v1/models/net/routing", {"aliases": {"default": "1"}, "shadow": "2"})
    shadow = app.worker.app.repository.models["net"].loaded["2"]
    assert servers.ask(app, "POST", PREDICT, X).json["version"] == "1"
    app.run(app.worker.app._settled())
    run = shadow.bundle.run
    shadow.bundle.run = lambda arrays: {"output": run(arrays)["output"] + 1}  # type: ignore[method-assign]
    assert servers.ask(app, "POST", PREDICT, X).json["predictions"] == [{"output": [1.0, 2.0, 3.0]}]
    app.run(app.worker.app._settled())
    shadow.batcher.admitted = shadow.batcher.most  # it is busy
    servers.ask(app, "POST", PREDICT, X)
    shadow.batcher.admitted = 0
    text = servers.ask(app, "GET", "/metrics").body.decode()
    for outcome in ("equal", "differs", "dropped"):
        assert f'torchkiln_shadow_total{{model="net",version="2",outcome="{outcome}"}} 1' in text


def test_pages_of_other_sites_give_no_orders(app: Asked) -> None:
    for origin, status in (("https://evil.example", 403), ("null", 403), ("http://here:1", 200)):
        headers = {"origin": origin, "host": "here:1"}
        assert servers.ask(app, "POST", "/v1/models/net:load", b"", headers).status == status


def test_tokens(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{READER}\n{ADMIN} admin\n")
    file.chmod(0o600)
    with servers.asked(tmp_path, models, token_file=file) as app:
        reader, admin = ({"authorization": f"Bearer {token}"} for token in (READER, ADMIN))
        ways = [
            ("POST", PREDICT, X, "reader"),
            ("GET", "/metrics", b"", "reader"),
            ("GET", "/v1/models", b"", "reader"),
            ("POST", "/v1/models/net:load", b"", "admin"),
            ("POST", "/v2/models/net/infer", X, "reader"),
        ]
        for method, path, body, who in ways:
            assert servers.ask(app, method, path, body).status == 401
            right, wrong = (reader, admin) if who == "reader" else (admin, reader)
            assert servers.ask(app, method, path, body, right).status in (200, 400)
            assert servers.ask(app, method, path, body, wrong).status == 403
        for path in ("/livez", "/readyz", "/", "/page/page.js"):
            assert servers.ask(app, "GET", path).status == 200
        assert servers.ask(app, "GET", "/openapi.json", b"", reader).json["security"] == [{"token": []}]


def test_without_tokens_only_a_loopback_takes_orders(models: Path, tmp_path: Path) -> None:
    with servers.asked(tmp_path, models, host="0.0.0.0", no_auth=True) as app:
        assert servers.ask(app, "POST", "/v1/models/net:load").status == 403
        assert servers.ask(app, "POST", PREDICT, X).status == 200


def test_orders_of_another_worker_are_carried_out(app: Asked, models: Path) -> None:
    desk = app.worker.desk
    with (app.worker.fleet.folder / "orders.jsonl").open("a") as orders:
        orders.write(json.dumps({"do": "unload", "name": "other", "by": 0}) + "\n")
        orders.write(
            json.dumps({"do": "route", "name": "net", "by": 0, "routing": {"aliases": {"default": "1"}}}) + "\n"
        )

    async def caught_up() -> None:
        import asyncio

        while not desk.catch_up():
            await asyncio.sleep(0.01)

    app.run(caught_up())
    assert desk.carried_out == 2
    assert servers.ask(app, "POST", PREDICT, X).json["version"] == "1"


def test_a_lone_bundle_can_be_loaded_anew(tmp_path: Path) -> None:
    bundle = bundles.tensors(tmp_path / "b")
    with servers.asked(tmp_path, f"net={bundle}") as app:
        before = servers.ask(app, "GET", "/v1/models/net").json["versions"]
        shutil.rmtree(bundle)
        bundles.tensors(bundle, files={"more.txt": b"more"})
        after = servers.ask(app, "POST", "/v1/models/net:load").json["versions"]
        assert before[0]["digest"] != after[0]["digest"] and after[0]["state"] == "READY"
