"""Models of a worker: loaded beside the old ones, put in their place, let go.

Routes look names up in the dictionaries here; nothing that a client sends becomes part of a path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torchkiln.errors import BundleError, InputError, KilnError
from torchkiln.registry import did_you_mean
from torchkiln.serving import folders
from torchkiln.serving.model import Model, Routing, order
from torchkiln.serving.refusal import Refusal
from torchkiln.serving.served import Served, release

Load = Callable[[str, str, Path], Served]


class Repository:
    """All models of a worker.

    Args:
        paths: Bundles, runs with a bundle, or folders of `name/version/` bundles.
        policy: Versions of a folder that are served: `latest:N`, `all`, or names with commas.
        load: Makes a version of a bundle.

    Raises:
        InputError: A path holds none of these, or two have one name.
    """

    def __init__(self, paths: Sequence[Path], policy: str, load: Load) -> None:
        self.policy, self._load = folders.policy(policy), load
        self.paths = [Path(path) for path in paths]
        self.models: dict[str, Model] = {}
        self.changed: Callable[[], None] = lambda: None
        """Called whenever what is loaded, or where requests go, is another."""
        self._lock = asyncio.Lock()
        for path in self.paths:
            for model in folders.found(path):
                if model.name in self.models:
                    raise InputError(f"{path}: the name {model.name!r} is taken already; give another: NAME=PATH")
                self.models[model.name] = model
        if not self.models:
            raise InputError(f"{self.paths[0]} holds no bundle; make one: torchkiln export RUN")

    def get(self, name: str) -> Model:
        """The model of this name.

        Raises:
            Refusal: 404, with the nearest name.
        """
        found = self.models.get(name)
        if found is None:
            raise Refusal(404, f"there is no model {name[:80]!r}{did_you_mean(name[:80], list(self.models))}")
        return found

    def load_all(self) -> None:
        """Load what the policy asks for, before the first request.

        Raises:
            KilnError: A model has no version that can be loaded.
        """
        for model in self.models.values():
            wanted = self._wanted(model)
            faults = [self._try(model, version, self._make(model, version)) for version in wanted]
            model.settle()
            if not model.loaded:
                raise next((fault for fault in faults if fault), InputError(f"{model.name}: --versions names none of "
                           f"its versions {_listed(model)}"))  # fmt: skip

    async def refresh(self, name: str) -> Model:
        """Look for versions of a model anew, load what is new or changed, and let go of what is not wanted.

        The old ones answer until the new ones are loaded, and go on where loading fails.

        Raises:
            Refusal: 404 without such a model; 409 where nothing could be loaded, with the reason.
        """
        async with self._lock:
            self._look()
            model = self.get(name)
            if model.folder is not None:
                model.routing = folders.routing(model.folder, model.routing)
            wanted = self._wanted(model)
            for version in wanted:
                if version not in model.loaded or folders.look_of(model.paths[version]) != model.tried[version]:
                    await self._replace(model, version, alike=True)
            gone = [v for v in model.loaded if v not in wanted] if set(wanted) & set(model.loaded) else []
            for version in gone:
                self._let_go(model, version)
            self._settle()
            if wanted and not set(wanted) & set(model.loaded):
                raise Refusal(409, f"{name} could not be loaded: {model.reasons[wanted[0]]}")
            return model

    async def unload(self, name: str) -> None:
        """Let go of all versions of a model once what is on its way is answered.

        Raises:
            Refusal: 404 without such a model.
        """
        async with self._lock:
            model = self.get(name)
            for version in list(model.loaded):
                self._let_go(model, version)
            self._settle()

    async def route(self, name: str, routing: Routing) -> Model:
        """Send requests elsewhere at once; versions that are named are loaded first, so nobody waits for them.

        Raises:
            Refusal: 404 without such a model, 422 without such a version, 409 where one cannot be loaded.
        """
        async with self._lock:
            self._look()
            model = self.get(name)
            named = {*routing.aliases.values(), *routing.canary, *([routing.shadow] if routing.shadow else [])}
            for version in sorted(named):
                if version not in model.paths:
                    raise Refusal(
                        422,
                        f"{name} has no version {version[:80]!r}; it has {', '.join(sorted(model.paths, key=order))}",
                    )
                if version not in model.loaded and await self._replace(model, version):
                    raise Refusal(409, f"version {version} could not be loaded: {model.reasons[version]}")
            model.routing = routing
            kept = {*self._wanted(model), *named}
            for version in [v for v in model.loaded if v not in kept]:
                self._let_go(model, version)
            if model.folder is not None:
                folders.keep(model.folder, routing)
            self._settle()
            return model

    async def watch(self) -> None:
        """Take up what changed in the folders: new versions, changed ones, other routing; new models too."""
        async with self._lock:
            self._look()
        for name, model in list(self.models.items()):
            if model.folder is None or not self._differs(model):
                continue
            try:
                await self.refresh(name)
            except Refusal:
                continue  # the reason stands in the index

    def index(self) -> list[dict[str, Any]]:
        """Every version with its state: READY, UNAVAILABLE or AVAILABLE, and the reason."""
        rows = []
        for model in self.models.values():
            for version in sorted({*model.paths, *model.loaded}, key=order):
                state = "READY" if version in model.loaded else "UNAVAILABLE"
                rows.append({"name": model.name, "version": version, "state": state,
                             "reason": model.reasons.get(version, "" if state == "READY" else "unloaded")})  # fmt: skip
        return rows

    def _settle(self) -> None:
        for model in self.models.values():
            model.settle()
        self.changed()

    def _wanted(self, model: Model) -> list[str]:
        """Versions that the policy serves, the oldest first; those that routing names included."""
        versions = sorted(model.paths, key=order)
        if isinstance(self.policy, int):
            chosen = set(versions[-self.policy :]) if self.policy else set(versions)
        else:
            chosen = {v for v in versions if v in self.policy}
        routing = model.routing
        chosen |= {*routing.aliases.values(), *routing.canary, *([routing.shadow] if routing.shadow else [])}
        return [v for v in versions if v in chosen]

    def _differs(self, model: Model) -> bool:
        wanted = self._wanted(model)
        if set(model.loaded) - set(wanted) and set(wanted) & set(model.loaded):
            return True
        if model.folder is not None and folders.routing(model.folder, model.routing) != model.routing:
            return True
        return any(folders.look_of(model.paths[version]) not in (model.tried.get(version), "") for version in wanted)

    def _look(self) -> None:
        """Find what lies in the folders now; versions that are loaded stay, though their files be gone."""
        for path in self.paths:
            try:
                found = folders.found(path)
            except InputError:
                continue
            for model in found:
                known = self.models.setdefault(model.name, model)
                kept = {v: p for v, p in known.paths.items() if v in known.loaded}
                known.paths = {**kept, **model.paths}

    def _make(self, model: Model, version: str) -> Served | KilnError:
        model.tried[version] = folders.look_of(model.paths[version])
        try:
            return self._load(model.name, version, model.paths[version])
        except KilnError as error:
            return error
        except OSError as error:
            return BundleError(f"{model.paths[version]} cannot be read ({error.strerror})")

    async def _replace(self, model: Model, version: str, alike: bool = False) -> KilnError | None:
        """Load a version and put it in its place; `alike`: only if it takes what the default one takes."""
        made = await asyncio.to_thread(self._make, model, version)
        now = model.default
        if alike and isinstance(made, Served) and now is not None and _form(made) != _form(now):
            made.batcher.close()
            made = BundleError(f"it takes or gives other fields than version {now.version}, which answers now; "
                               "to serve it all the same, name it in the routing")  # fmt: skip
        return self._try(model, version, made)

    def _try(self, model: Model, version: str, made: Served | KilnError) -> KilnError | None:
        """Put a version in its place, or keep the reason why not; paths of this machine are taken out of it."""
        if isinstance(made, KilnError):
            root = model.paths[version]
            reason = str(made).replace(f"{root}/", "").replace(str(root), f"{model.name}/{version}")
            model.reasons[version] = reason
            return made
        old = model.loaded.get(version)
        model.loaded[version] = made
        model.reasons.pop(version, None)
        if old is not None:
            _drain(old)
        return None

    def _let_go(self, model: Model, version: str) -> None:
        _drain(model.loaded.pop(version))


def _form(served: Served) -> tuple[Any, ...]:
    """What a client must know of a version: fields and their types, and what is answered."""
    fields = served.bundle.schema["request"]["properties"]
    manifest = served.bundle.manifest
    return {n: f.get("type") for n, f in fields.items()}, manifest.prediction_kind, [t.name for t in manifest.outputs]


_draining: set[asyncio.Task[None]] = set()


def _drain(served: Served) -> None:
    async def drain() -> None:
        await served.drained()
        release()

    task = asyncio.get_running_loop().create_task(drain())
    _draining.add(task)
    task.add_done_callback(_draining.discard)


def _listed(model: Model) -> str:
    return ", ".join(sorted(model.paths, key=order))
