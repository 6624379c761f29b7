from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from torchkiln.errors import InputError
from torchkiln.serving.model import Model, Routing, order
from torchkiln.serving.refusal import Refusal


def model(routing: Routing, *versions: str) -> Any:
    made = Model("m", loaded={v: SimpleNamespace(version=v) for v in versions}, routing=routing)  # type: ignore[misc]
    made.settle()
    return made


def test_the_newest_answers_unless_an_alias_says_otherwise() -> None:
    assert model(Routing(), "2", "10", "1").find(None, "").version == "10"
    assert model(Routing({"default": "2"}), "2", "10").find(None, "").version == "2"
    assert model(Routing({"default": "9"}), "2", "10").find(None, "").version == "10"  # it is not loaded
    assert sorted(["v10", "v9", "old", "1"], key=order) == ["old", "1", "v9", "v10"]


def test_versions_and_aliases_are_asked_for_by_name() -> None:
    made = model(Routing({"stable": "1"}), "1", "2")
    assert made.find("stable", "").version == "1" and made.find("2", "").version == "2"
    with pytest.raises(Refusal) as refused:
        made.find("3", "")
    assert refused.value.status == 404
    with pytest.raises(Refusal) as refused:
        model(Routing()).find(None, "")
    assert refused.value.status == 503


def test_a_canary_gets_its_share_and_the_same_ids_stay_with_it() -> None:
    made = model(Routing({"default": "1"}, {"2": 10}), "1", "2")
    ids = [f"id-{i}" for i in range(5000)]
    found = [made.find(None, i).version for i in ids]
    assert 400 < found.count("2") < 600
    assert found == [made.find(None, i).version for i in ids]
    wider = model(Routing({"default": "1"}, {"2": 30}), "1", "2")
    assert all(wider.find(None, i).version == "2" for i, v in zip(ids, found, strict=True) if v == "2")
    assert made.find("1", ids[found.index("2")]).version == "1"  # who names a version gets it


def test_a_shadow_computes_along_with_the_default_alone() -> None:
    made = model(Routing({"default": "1"}, shadow="2"), "1", "2")
    assert made.shadow(made.loaded["1"]).version == "2"
    assert made.shadow(made.loaded["2"]) is None
    assert model(Routing({"default": "1"}, shadow="3"), "1").shadow(SimpleNamespace()) is None


@pytest.mark.parametrize(
    "content",
    [3, {"alias": {}}, {"aliases": ["1"]}, {"aliases": {"a/b": "1"}}, {"aliases": {"a": 1}}, {"canary": {"2": 101}},
     {"canary": {"2": -1}}, {"canary": {"2": "10"}}, {"canary": {"2": 60, "3": 60}}, {"canary": [2]}, {"shadow": 2}],
)  # fmt: skip
def test_other_routing_is_refused(content: Any) -> None:
    with pytest.raises(InputError, match="here"):
        Routing.of(content, "here")


def test_routing_goes_there_and_back() -> None:
    routing = Routing({"default": "1"}, {"2": 10}, "3")
    assert Routing.of(routing.state(), "here") == routing
