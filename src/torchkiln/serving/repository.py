"""Models by name and version: found in folders, loaded beside the old ones, put in their place, let go.

Routes look names up in the dictionaries here; nothing that a client sends becomes part of a path.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchkiln.errors import BundleError, InputError, KilnError
from torchkiln.registry import did_you_mean
from torchkiln.serving.refusal import Refusal
from torchkiln.serving.served import Served, release

MANIFEST = "manifest.json"
ROUTING = "serving.json"
"""Beside the versions of a model in a folder: its aliases, canary and shadow."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
Load = Callable[[str, str, Path], Served]


@dataclass(frozen=True)
class Routing:
    """Which version answers a request that names none.

    Args:
        aliases: Words for versions; `default` answers where neither version nor alias is asked for.
        canary: Percent of such requests that go to another version, the same ones for the same request id.
        shadow: A version that computes what the default one answers, to be compared and never returned.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    canary: Mapping[str, float] = field(default_factory=dict)
    shadow: str | None = None

    @classmethod
    def of(cls, content: Any, where: str) -> Routing:
        """From JSON.

        Raises:
            InputError: It is something else.
        """
        if not isinstance(content, dict) or set(content) - {"aliases", "canary", "shadow"}:
            raise InputError(f"{where}: an object of `aliases`, `canary` and `shadow` is expected")
        aliases, canary, shadow = content.get("aliases") or {}, content.get("canary") or {}, content.get("shadow")
        if not isinstance(aliases, dict) or not all(
            NAME.fullmatch(n) and isinstance(v, str) for n, v in aliases.items()
        ):
            raise InputError(f'{where}: `aliases` maps words to versions, such as {{"default": "2"}}')
        shares = list(canary.values()) if isinstance(canary, dict) else [-1]
        if not all(type(s) in (int, float) and 0 <= s <= 100 for s in shares) or sum(shares) > 100:
            raise InputError(f'{where}: `canary` maps versions to percent, such as {{"2": 10}}, 100 together at most')
        if shadow is not None and not isinstance(shadow, str):
            raise InputError(f"{where}: `shadow` is a version")
        return cls(aliases, canary, shadow)

    def state(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"aliases": dict(self.aliases), "canary": dict(self.canary), "shadow": self.shadow}


@dataclass
class Model:
    """One name.

    Args:
        name: Of the routes.
        folder: Where its versions lie, if it is one of a folder of models.
        paths: Bundles by version.
        loaded: Versions that answer.
        reasons: Why a version does not.
        tried: What its files looked like when it was loaded, or could not be.
        routing: Who answers requests that name no version.
        default: The version that it names; see `settle`.
    """

    name: str
    folder: Path | None = None
    paths: dict[str, Path] = field(default_factory=dict)
    loaded: dict[str, Served] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    tried: dict[str, str] = field(default_factory=dict)
    routing: Routing = field(default_factory=Routing)
    default: Served | None = None

    def settle(self) -> None:
        """Say who answers where nothing else is said: the alias, or the newest that is loaded."""
        named = self.routing.aliases.get("default", "")
        if named not in self.loaded:
            named = max(self.loaded, key=order, default="")
        self.default = self.loaded.get(named)

    def find(self, version: str | None, request_id: str) -> Served:
        """The version that answers this request.

        Raises:
            Refusal: 404 without such a version, 503 while none is loaded.
        """
        if version is not None:
            found = self.loaded.get(self.routing.aliases.get(version, version))
            if found is None:
                raise Refusal(404, f"{self.name} has no version {version[:80]!r} that is loaded")
            return found
        found = self.default
        if found is None:
            raise Refusal(503, f"no version of {self.name} is loaded", headers={b"retry-after": b"5"})
        if self.routing.canary:
            place = zlib.crc32(request_id.encode()) % 10_000 / 100
            for other, percent in self.routing.canary.items():
                if place < percent and other in self.loaded:
                    return self.loaded[other]
                place -= percent
        return found

    def shadow(self, served: Served) -> Served | None:
        """Who computes a request along with `served`."""
        named = self.routing.shadow
        other = self.loaded.get(named) if named is not None else None
        return other if other is not served and served is self.default else None


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
        self.policy, self._load = _policy(policy), load
        self.paths = [Path(path) for path in paths]
        self.models: dict[str, Model] = {}
        self.changed: Callable[[], None] = lambda: None
        """Called whenever what is loaded, or where requests go, is another."""
        self._lock = asyncio.Lock()
        for path in self.paths:
            for model in _found(path):
                if model.name in self.models:
                    raise InputError(
                        f"{path}: a model of the name {model.name!r} is there already; name one: NAME={path}"
                    )
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
                           f"its versions {', '.join(model.paths)}"))  # fmt: skip

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
                model.routing = _routing(model.folder, model.routing)
            wanted = self._wanted(model)
            for version in wanted:
                if version not in model.loaded or _look_of(model.paths[version]) != model.tried[version]:
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
                    raise Refusal(422, f"{name} has no version {version[:80]!r}; it has {', '.join(model.paths)}")
                if version not in model.loaded and await self._replace(model, version):
                    raise Refusal(409, f"version {version} could not be loaded: {model.reasons[version]}")
            model.routing = routing
            kept = {*self._wanted(model), *named}
            for version in [v for v in model.loaded if v not in kept]:
                self._let_go(model, version)
            if model.folder is not None:
                _keep(model.folder, routing)
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
        if model.folder is not None and _routing(model.folder, model.routing) != model.routing:
            return True
        return any(_look_of(model.paths[version]) not in (model.tried.get(version), "") for version in wanted)

    def _look(self) -> None:
        """Find what lies in the folders now; versions that are loaded stay, though their files be gone."""
        for path in self.paths:
            try:
                found = _found(path)
            except InputError:
                continue
            for model in found:
                known = self.models.setdefault(model.name, model)
                kept = {v: p for v, p in known.paths.items() if v in known.loaded}
                known.paths = {**kept, **model.paths}

    def _make(self, model: Model, version: str) -> Served | KilnError:
        model.tried[version] = _look_of(model.paths[version])
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


def order(version: str) -> tuple[bool, int, str]:
    """Numbers by size, behind names that are none."""
    digits = version.lstrip("v")
    return (digits.isdecimal(), int(digits) if digits.isdecimal() else 0, version)


_draining: set[asyncio.Task[None]] = set()


def _drain(served: Served) -> None:
    async def drain() -> None:
        await served.drained()
        release()

    task = asyncio.get_running_loop().create_task(drain())
    _draining.add(task)
    task.add_done_callback(_draining.discard)


def _found(path: Path) -> list[Model]:
    """What a path holds, or `NAME=PATH`: one model, or those of a folder."""
    name, _, named = str(path).partition("=")
    if named and not path.exists() and NAME.fullmatch(name):
        models = _found(Path(named))
        if len(models) > 1:
            raise InputError(f"{path}: {named} holds {len(models)} models; a name is for one")
        models[0].name = name
        return models
    if path.is_file() or (path / MANIFEST).is_file():
        return [Model(_name(path), paths={"1": path})]
    if (path / "bundle" / MANIFEST).is_file():
        return [Model(_name(path / "bundle"), paths={"1": path / "bundle"})]
    if not path.is_dir():
        raise InputError(f"{path} does not exist; a bundle, a run with one, or a folder of name/version/ is expected")
    models = []
    for folder in sorted(path.iterdir()):
        if NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            versions = {
                one.name: one
                for one in folder.iterdir()
                if NAME.fullmatch(one.name) and not one.is_symlink() and (one / MANIFEST).is_file()
            }
            if versions:
                models.append(Model(folder.name, folder, versions, routing=_routing(folder, Routing())))
    if not models and (path / "recipe.yaml").is_file():
        raise InputError(f"{path} is a run without a bundle; make it: torchkiln export {path}")
    if not models:
        raise InputError(f"{path} holds no bundle, neither itself nor as name/version/; make one: torchkiln export RUN")
    return models


def _name(bundle: Path) -> str:
    """What the manifest calls the model, in letters that a route takes."""
    name = bundle.stem
    if bundle.is_dir():
        try:
            name = str(json.loads((bundle / MANIFEST).read_bytes())["name"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            name = bundle.stem  # the loader says what is wrong with it
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip("_.-")[:128] or "model"


def _policy(text: str) -> int | frozenset[str]:
    """Of the latest how many, 0 for all; or which by name."""
    if text == "all":
        return 0
    kind, _, number = text.partition(":")
    if kind == "latest":
        if number and (not number.isdecimal() or int(number) < 1):
            raise InputError(f"--versions {text}: latest:N takes a number from 1")
        return int(number or 1)
    return frozenset(text.split(","))


def _routing(folder: Path, otherwise: Routing) -> Routing:
    """The content of serving.json; `otherwise` where there is none or it cannot be read."""
    try:
        return Routing.of(json.loads((folder / ROUTING).read_bytes()), str(folder / ROUTING))
    except (OSError, ValueError, RecursionError, InputError):
        return otherwise


def _keep(folder: Path, routing: Routing) -> None:
    """Write serving.json, so that a restart goes on alike; where the folder cannot be written, memory must do."""
    temporary = folder / f".{ROUTING}"
    try:
        temporary.write_text(json.dumps(routing.state(), indent=1), encoding="utf-8")
        temporary.replace(folder / ROUTING)
    except OSError:
        return


def _form(served: Served) -> tuple[Any, ...]:
    """What a client must know of a version: fields and their types, and what is answered."""
    fields = served.bundle.schema["request"]["properties"]
    manifest = served.bundle.manifest
    return {n: f.get("type") for n, f in fields.items()}, manifest.prediction_kind, [t.name for t in manifest.outputs]


def _look_of(bundle: Path) -> str:
    """Names, sizes and times of a bundle's files, which tell whether it is another; empty where it is gone."""
    files = [bundle] if bundle.is_file() else sorted(bundle.rglob("*"))
    try:
        seen = [(str(file), file.lstat().st_size, file.lstat().st_mtime_ns) for file in files]
    except OSError:
        return "changing"
    return repr(seen) if seen else ""
