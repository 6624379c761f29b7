"""All routes but those of predictions: health, counts, what the models are, and orders of an administrator."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib import metadata
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from torchkiln.errors import InputError
from torchkiln.serving import body as bodies
from torchkiln.serving import metrics, oip, page
from torchkiln.serving.app import App
from torchkiln.serving.body import Receive, Scope, Send
from torchkiln.serving.fleet import Fleet
from torchkiln.serving.model import Model, Routing
from torchkiln.serving.openapi import document
from torchkiln.serving.refusal import PROBLEM, Refusal
from torchkiln.serving.served import Served

CHECK_SECONDS = 1.0
"""The golden record is asked at most so often."""
ANSWER_SECONDS = 2.0
"""A golden record that takes longer: the model stalls."""
DRIFT_SECONDS = 10.0
"""Requests are held beside the training data so often."""
CARRY_OUT_SECONDS = 60.0
"""How long an order waits for the other workers."""
logger = logging.getLogger("torchkiln.serving")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_Handler = Callable[[Request], Awaitable[Response]]
_Right = Literal["open", "predict", "admin"]


class Desk:
    """The application beside that of predictions.

    Args:
        app: Of predictions.
        fleet, number: This worker's place among all.
        admin: Whether orders are taken without a token, for a server that only this machine reaches.
    """

    def __init__(self, app: App, fleet: Fleet, number: int, admin: bool = True) -> None:
        self.app, self.fleet, self.number, self.admin = app, fleet, number, admin
        self.repository = app.repository
        self.carried_out = 0
        self._size = -1  # of the orders that were read
        self._at_work: asyncio.Task[None] | None = None
        self._checked, self._trouble = 0.0, "no check was made yet"
        self._checking = asyncio.Lock()
        self._drifted = 0.0
        self._told: set[metrics.Labels] = set()
        self._starlette = Starlette(
            routes=self._routes(),
            exception_handlers={Refusal: _refused, HTTPException: _unknown, Exception: _failed},
        )
        self._starlette.router.redirect_slashes = False  # a path is there or it is not

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._starlette(scope, receive, send)

    def catch_up(self) -> bool:
        """Begin to carry out new orders of other workers; whether none is left."""
        if self._at_work is not None and not self._at_work.done():
            return False
        size = self.fleet.orders_size()
        if size == self._size:
            return True
        self._size = size
        self._at_work = asyncio.get_running_loop().create_task(self._carry_out())
        return size == 0

    def counts(self) -> dict[str, Any]:
        """All that this worker counts."""
        if time.monotonic() - self._drifted > DRIFT_SECONDS:
            self._drifted = time.monotonic()
            self._look_at_drift()
        for model in self.repository.models.values():
            for served in model.loaded.values():
                served.publish()
        own = self.app.metrics
        own.counters["torchkiln_log_lost_total", ()] = float(self.app.log.lost + self.app.sample.log.lost)
        return own.state()

    def _look_at_drift(self) -> None:
        """Bring drift into the counts, and say a word where a feature has clearly left the training data."""
        for served in [s for model in self.repository.models.values() for s in model.loaded.values()]:
            report = served.drift()
            for feature, found in report.get("features", {}).items():
                labels = (*served.labels, ("feature", feature))
                self.app.metrics.put("torchkiln_drift_psi", found["psi"], labels)
                if "unseen" in found:
                    self.app.metrics.put("torchkiln_unseen_share", found["unseen"], labels)
                if found["clear"] and labels not in self._told:
                    logger.warning("%s version %s: requests differ from training in %r (PSI %.2f over %d rows)",
                                   served.name, served.version, feature, found["psi"], report["rows"])  # fmt: skip
                (self._told.add if found["clear"] else self._told.discard)(labels)

    async def trouble(self) -> str | None:
        """Why this server is not ready, or None."""
        if self.app.phase != "ready":
            return f"this server is {self.app.phase}"
        if (trouble := self.fleet.trouble()) is not None:
            return trouble
        async with self._checking:
            if time.monotonic() - self._checked > CHECK_SECONDS:
                self._trouble = await self._check() or ""
                self._checked = time.monotonic()
        return self._trouble or None

    async def _check(self) -> str | None:
        for model in self.repository.models.values():
            served = model.default
            if served is None:
                return f"no version of {model.name} is loaded"
            if (trouble := await served.check(time.monotonic() + ANSWER_SECONDS)) is not None:
                return trouble
        return None

    def _routes(self) -> list[Route]:
        def way(path: str, handler: _Handler, right: _Right = "predict", method: str = "GET") -> Route:
            async def endpoint(request: Request) -> Response:
                self._allow(request, right)
                return await handler(request)

            return Route(path, endpoint, methods=[method])

        version = "/versions/{version}"
        return [
            way("/", self._page, "open"),
            way("/page/{name}", self._asset, "open"),
            way("/docs", self._page, "open"),
            way("/openapi.json", self._openapi),
            way("/livez", self._live, "open"),
            way("/readyz", self._ready, "open"),
            way("/metrics", self._metrics),
            way("/v1/models", self._models),
            way("/v1/models/{name}", self._model),
            way("/v1/models/{name}/golden", self._golden),
            way("/v1/models/{name}/routing", self._route, "admin", "PUT"),
            way("/v1/models/{name}:load", self._load, "admin", "POST"),
            way("/v1/models/{name}:unload", self._unload, "admin", "POST"),
            # The application knows the ways to what is loaded; who comes here asked for something else.
            *[way(path + end, self._not_loaded, method="POST")
              for part in ("", version)
              for path, end in ((f"/v1/models/{{name}}{part}", ":predict"), (f"/v2/models/{{name}}{part}", "/infer"))],
            way("/v2", self._server),
            way("/v2/health/live", self._live, "open"),
            way("/v2/health/ready", self._ready, "open"),
            way("/v2/models/stats", self._stats),
            *[
                way(f"/v2/models/{{name}}{part}{end}", handler)
                for part in ("", version)
                for end, handler in (
                    ("", self._metadata), ("/ready", self._model_ready), ("/config", self._config),
                    ("/stats", self._stats),
                )
            ],
            way("/v2/repository/index", self._index, "predict", "POST"),
            way("/v2/repository/models/{name}/load", self._load, "admin", "POST"),
            way("/v2/repository/models/{name}/unload", self._unload, "admin", "POST"),
        ]  # fmt: skip

    def _allow(self, request: Request, right: _Right) -> None:
        if right == "open":
            return
        if self.app.tokens is not None:
            header = request.headers.get("authorization")
            self.app.tokens.check(header.encode("latin-1") if header else None, right)
        elif right == "admin" and not self.admin:
            raise Refusal(403, "orders are taken with a token of the right admin; start the server with --token-file")
        origin = request.headers.get("origin")
        if right == "admin" and origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise Refusal(403, "orders are not taken from pages of other sites")

    # Health

    async def _live(self, request: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, request: Request) -> Response:
        trouble = await self.trouble()
        if trouble is None:
            return _json({"ready": True})
        return _json({"ready": False, "reason": trouble}, 503, {"retry-after": "1"})

    async def _metrics(self, request: Request) -> Response:
        states = [self.counts(), *self.fleet.others(self.number)]
        restarts = {"counters": [["torchkiln_restarts_total", [], self.fleet.restarts()]], "gauges": [],
                    "histograms": []}  # fmt: skip
        return Response(metrics.text([*states, restarts]), media_type="text/plain; version=0.0.4; charset=utf-8")

    # What there is

    async def _page(self, request: Request) -> Response:
        content, kind = page.asset("index.html")
        return Response(content, media_type=kind, headers={"content-security-policy": _POLICY, **_SAFE})

    async def _asset(self, request: Request) -> Response:
        content, kind = page.asset(request.path_params["name"])
        return Response(content, media_type=kind, headers=_SAFE)

    async def _openapi(self, request: Request) -> Response:
        return _json(document(self.repository, self.app.limits, self.app.tokens is not None))

    async def _models(self, request: Request) -> Response:
        return _json({"models": [self._described(model) for model in self.repository.models.values()]})

    async def _model(self, request: Request) -> Response:
        return _json(self._described(self._named(request)))

    async def _golden(self, request: Request) -> Response:
        served = self._named(request).default
        return _json({"golden": [{"record": r, "answer": a} for r, a in served.golden[:16]] if served else []})

    def _described(self, model: Model) -> dict[str, Any]:
        default = model.default
        rows = [row for row in self.repository.index() if row["name"] == model.name]
        return {
            "name": model.name,
            "default": default.version if default else None,
            "versions": [
                {"version": r["version"], "state": r["state"], "reason": r["reason"],
                 "digest": model.loaded[r["version"]].bundle.digest if r["version"] in model.loaded else None}
                for r in rows
            ],
            "routing": model.routing.state(),
            "task": default.bundle.manifest.task if default else None,
            "prediction_kind": default.bundle.manifest.prediction_kind if default else None,
            "inline": default.batcher.inline if default else None,
            "limits": asdict(self.app.limits),
            "schema": default.bundle.schema if default else None,
            "drift": _drift(default),
            "pictures": default.column if default and default.pictures else None,
        }  # fmt: skip

    async def _not_loaded(self, request: Request) -> Response:
        served = self._named(request).find(request.path_params.get("version"), "")
        raise Refusal(404, f"{served.name} was loaded this very moment; ask again")

    # Open Inference Protocol

    async def _server(self, request: Request) -> Response:
        version = metadata.version("torchkiln")
        return _json({"name": "torchkiln", "version": version, "extensions": oip.EXTENSIONS})

    async def _metadata(self, request: Request) -> Response:
        model = self._named(request)
        served = model.find(request.path_params.get("version"), "")
        return _json(oip.metadata(served, sorted(model.loaded)))

    async def _model_ready(self, request: Request) -> Response:
        served = self._named(request).find(request.path_params.get("version"), "")
        return _json({"name": served.name, "ready": True})

    async def _config(self, request: Request) -> Response:
        return _json(oip.config(self._named(request).find(request.path_params.get("version"), "")))

    async def _stats(self, request: Request) -> Response:
        if "name" not in request.path_params:
            several = [s for model in self.repository.models.values() for s in model.loaded.values()]
        elif "version" in request.path_params:
            several = [self._named(request).find(request.path_params["version"], "")]
        else:
            several = list(self._named(request).loaded.values())
        return _json({"model_stats": [oip.statistics(served) for served in several]})

    async def _index(self, request: Request) -> Response:
        return _json(self.repository.index())

    # Orders

    async def _load(self, request: Request) -> Response:
        content = await self._content(request)
        if isinstance(content, dict) and content.get("parameters"):
            raise Refusal(400, "models are loaded from the server's folders alone, with the settings of their bundles")
        return await self._ordered({"do": "load", "name": self._name(request)})

    async def _unload(self, request: Request) -> Response:
        return await self._ordered({"do": "unload", "name": self._named(request).name})

    async def _route(self, request: Request) -> Response:
        content = await self._content(request)
        try:
            routing = Routing.of(content, "the body")
        except InputError as error:
            raise Refusal(422, str(error)) from None
        return await self._ordered({"do": "route", "name": self._named(request).name, "routing": routing.state()})

    async def _ordered(self, order: dict[str, Any]) -> Response:
        """Carry an order out here, then have the other workers do the same."""
        await self._do(order)
        number = self.fleet.order({**order, "by": os.getpid()})
        end = time.monotonic() + CARRY_OUT_SECONDS
        while self.fleet.behind(number):
            if time.monotonic() > end:
                raise Refusal(503, "carried out here, and not yet by every worker", headers={b"retry-after": b"5"})
            await asyncio.sleep(0.02)
        model = self.repository.models.get(order["name"])
        return _json(self._described(model) if model else {})

    async def _do(self, order: dict[str, Any]) -> None:
        if order["do"] == "load":
            await self.repository.refresh(order["name"])
        elif order["do"] == "unload":
            await self.repository.unload(order["name"])
        else:
            await self.repository.route(order["name"], Routing.of(order["routing"], "an order"))

    async def _carry_out(self) -> None:
        for order in self.fleet.orders(self.carried_out):
            if order["by"] != os.getpid():
                with contextlib.suppress(Refusal):  # the reason stands in the index
                    await self._do(order)
            self.carried_out += 1

    async def _content(self, request: Request) -> Any:
        headers = {name.encode("latin-1"): value.encode("latin-1") for name, value in request.headers.items()}
        body = await bodies.read(headers, request.receive, self.app.limits)
        return bodies.parse(body, self.app.limits) if body else {}

    def _named(self, request: Request) -> Model:
        return self.repository.get(request.path_params["name"])

    def _name(self, request: Request) -> str:
        return str(request.path_params["name"])


_SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def _drift(served: Served | None) -> list[dict[str, Any]]:
    features = served.drift().get("features", {}) if served else {}
    return [
        {"feature": n, "psi": f["psi"], "clear": f["clear"], "unseen": f.get("unseen")} for n, f in features.items()
    ]


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, headers, "application/json")


def _answer(request: Request, refusal: Refusal) -> Response:
    headers = {name.decode(): value.decode() for name, value in refusal.headers.items()}
    if request.url.path.startswith("/v2"):
        return Response(refusal.oip(), refusal.status, headers, "application/json")
    return Response(refusal.problem(request.headers.get("x-request-id", "")[:128]), refusal.status, headers,
                    PROBLEM.decode())  # fmt: skip


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _answer(request, error)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allow = {name.encode(): value.encode() for name, value in (error.headers or {}).items()}
    if error.status_code == 405:
        return _answer(request, Refusal(405, f"{request.method[:16]} is not answered on this path", headers=allow))
    return _answer(request, Refusal(404, "there is nothing on this path; /openapi.json lists what there is"))


async def _failed(request: Request, error: Exception) -> Response:
    return _answer(request, Refusal(500, "this request failed; the server's log says why"))
