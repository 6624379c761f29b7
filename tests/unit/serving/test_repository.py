from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import bundles
import pytest

from torchkiln.errors import InputError
from torchkiln.serving.limits import Limits
from torchkiln.serving.metrics import Metrics
from torchkiln.serving.model import Routing
from torchkiln.serving.refusal import Refusal
from torchkiln.serving.repository import Repository
from torchkiln.serving.served import Served, load


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for version in ("1", "2", "3"):
        bundles.tensors(tmp_path / "models" / "net" / version)
    return tmp_path / "models"


def repository(*paths: Path | str, policy: str = "latest:1") -> Repository:
    metrics = Metrics()

    def make(name: str, version: str, path: Path) -> Served:
        return load(name, version, path, {"threads": 1}, Limits(), metrics)

    made = Repository([Path(p) for p in paths], policy, make)
    made.load_all()
    return made


def states(made: Repository) -> dict[str, str]:
    return {row["version"]: row["state"] for row in made.index()}


def doing(work: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        found = await work()
        await asyncio.sleep(0.05)  # for those that drain
        return found

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("policy", "ready"), [("latest:1", "3"), ("latest:2", "23"), ("all", "123"), ("1,3", "13"), ("latest:9", "123")]
)
def test_the_policy_says_which_versions_answer(policy: str, ready: str, models: Path) -> None:
    made = repository(models, policy=policy)
    assert [v for v, state in states(made).items() if state == "READY"] == list(ready)
    assert made.get("net").default is made.get("net").loaded[ready[-1]]


def test_names_that_are_taken_and_versions_that_are_none(models: Path, tmp_path: Path) -> None:
    bundle = bundles.tensors(tmp_path / "net")
    with pytest.raises(InputError, match="is taken already"):
        repository(models, f"net={bundle}")
    with pytest.raises(InputError, match="none of its versions 1, 2, 3"):
        repository(models, policy="7")
    with pytest.raises(Refusal, match="did you mean 'net'"):
        repository(models).get("nett")


def test_a_new_version_takes_over_and_the_old_one_goes(models: Path) -> None:
    made = repository(models)
    old = made.get("net").loaded["3"]
    bundles.tensors(models / "net" / "4")
    changed = []
    made.changed = lambda: changed.append(True)

    async def work() -> None:
        one = old.batcher
        one.admit()  # a request is on its way
        await made.refresh("net")
        assert set(made.get("net").loaded) == {"4"} and changed
        await asyncio.sleep(0.05)
        assert not one.idle  # it is waited for
        assert len(await old.outputs(one.submit(old._example(), 1e18)))

    doing(work)
    assert states(made) == {"1": "UNAVAILABLE", "2": "UNAVAILABLE", "3": "UNAVAILABLE", "4": "READY"}


def test_a_rollback_is_one_call(models: Path) -> None:
    made = repository(models)
    doing(lambda: made.route("net", Routing({"default": "1"})))
    assert made.get("net").default.version == "1"  # type: ignore[union-attr]  # it is loaded first
    assert states(made)["3"] == "READY"
    again = repository(models)  # a restart goes on alike
    assert again.get("net").default.version == "1"  # type: ignore[union-attr]
    doing(lambda: made.route("net", Routing()))
    assert [v for v, s in states(made).items() if s == "READY"] == ["3"]


def test_routing_to_what_is_not_there(models: Path) -> None:
    made = repository(models)
    with pytest.raises(Refusal, match="has no version '9'"):
        doing(lambda: made.route("net", Routing({"default": "9"})))
    (models / "net" / "2" / "model.onnx").write_bytes(b"x")
    with pytest.raises(Refusal, match="could not be loaded") as refused:
        doing(lambda: made.route("net", Routing(shadow="2")))
    assert refused.value.status == 409 and str(models) not in refused.value.detail
    assert made.get("net").routing == Routing()


def test_unload_and_load(models: Path) -> None:
    made = repository(models)
    doing(lambda: made.unload("net"))
    with pytest.raises(Refusal, match="no version of net is loaded"):
        made.get("net").find(None, "")
    doing(lambda: made.refresh("net"))
    assert made.get("net").find(None, "").version == "3"


def test_watching_takes_up_what_comes_and_tries_what_is_broken_but_once(models: Path) -> None:
    made = repository(models)
    tried: list[str] = []
    inner = made._load
    made._load = lambda name, version, path: tried.append(version) or inner(name, version, path)  # type: ignore[func-returns-value]
    doing(made.watch)
    assert tried == []
    shutil.copytree(models / "net" / "3", models / "net" / "4")
    (models / "net" / "4" / "model.onnx").unlink()
    doing(made.watch)
    doing(made.watch)
    assert tried == ["4"] and "missing" in made.get("net").reasons["4"]
    assert made.get("net").default.version == "3"  # type: ignore[union-attr]
    shutil.copy(models / "net" / "3" / "model.onnx", models / "net" / "4")
    doing(made.watch)
    assert made.get("net").default.version == "4" and not made.get("net").reasons  # type: ignore[union-attr]
    bundles.tensors(models / "other" / "1")
    doing(made.watch)
    assert made.get("other").default is not None
    shutil.rmtree(models / "net")
    doing(made.watch)
    assert made.get("net").default.version == "4"  # type: ignore[union-attr]  # it lives in memory


def test_a_version_that_takes_other_fields_is_served_only_by_name(models: Path) -> None:
    made = repository(models)
    bundles.table(models / "net" / "4")
    with pytest.raises(Refusal, match="other fields"):
        doing(lambda: made.refresh("net"))
    assert "other fields" in made.get("net").reasons["4"] and made.get("net").default.version == "3"  # type: ignore[union-attr]
    doing(lambda: made.route("net", Routing({"default": "4"})))
    assert made.get("net").default.version == "4"  # type: ignore[union-attr]
