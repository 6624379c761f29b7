from __future__ import annotations

import json
import shutil
from pathlib import Path

import bundles
import pytest

from torchkiln.errors import InputError
from torchkiln.serving.folders import found, keep, look_of, policy, routing
from torchkiln.serving.model import Routing


def test_a_bundle_a_run_and_a_folder(tmp_path: Path) -> None:
    bundle = bundles.tensors(tmp_path / "run" / "bundle")
    assert [(m.name, m.paths) for m in found(bundle)] == [("small", {"1": bundle})]
    assert [m.paths for m in found(tmp_path / "run")] == [{"1": bundle}]
    for version in ("1", "v2", ".draft", "bad name"):
        shutil.copytree(bundle, tmp_path / "models" / "net" / version)
    (tmp_path / "models" / "net" / "3").mkdir()  # nothing in it yet
    (tmp_path / "models" / "net" / "4").symlink_to(bundle)
    (tmp_path / "models" / "empty").mkdir()
    (tmp_path / "models" / "net" / "serving.json").write_text(json.dumps({"aliases": {"default": "1"}}))
    (model,) = found(tmp_path / "models")
    assert model.name == "net" and set(model.paths) == {"1", "v2"} and model.routing.aliases == {"default": "1"}


def test_a_name_of_ones_own(tmp_path: Path) -> None:
    bundle = bundles.tensors(tmp_path / "b")
    assert found(Path(f"mine={bundle}"))[0].name == "mine"
    for name in ("a", "b"):
        shutil.copytree(bundle, tmp_path / "models" / name / "1")
    with pytest.raises(InputError, match="a name is for one"):
        found(Path(f"mine={tmp_path / 'models'}"))


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        found(tmp_path / "none")
    with pytest.raises(InputError, match="torchkiln export RUN"):
        found(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(InputError, match="a run without a bundle"):
        found(tmp_path)


def test_policies() -> None:
    assert [policy(text) for text in ("all", "latest", "latest:3", "1,v2")] == [0, 1, 3, frozenset({"1", "v2"})]
    for text in ("latest:0", "latest:x", "latest:-1"):
        with pytest.raises(InputError, match="latest:N"):
            policy(text)


def test_routing_is_kept_in_the_folder(tmp_path: Path) -> None:
    wanted = Routing({"default": "2"}, {"3": 5.0}, "4")
    keep(tmp_path, wanted)
    assert routing(tmp_path, Routing()) == wanted
    (tmp_path / "serving.json").write_text("{half")
    assert routing(tmp_path, wanted) == wanted  # goes on as before
    keep(tmp_path / "none", wanted)  # cannot be written


def test_a_change_of_files_is_seen(tmp_path: Path) -> None:
    bundle = bundles.tensors(tmp_path / "b")
    before = look_of(bundle)
    assert before == look_of(bundle)
    (bundle / "manifest.json").touch()
    assert look_of(bundle) != before
    shutil.rmtree(bundle)
    assert look_of(bundle) == ""
