"""What a run ran on."""

import platform
import subprocess
from pathlib import Path

from torchkiln.runs import environment


def test_versions_and_packages_are_those_installed() -> None:
    found = environment.describe(Path.cwd())
    assert found["versions"]["python"] == platform.python_version()
    assert found["packages"]["numpy"] == environment.version("numpy")
    assert environment.version("no-such-package") is None


def test_git_says_commit_and_changes(tmp_path: Path) -> None:
    assert environment.git(tmp_path) is None
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    found = environment.git(tmp_path)
    assert found is not None and len(found["commit"]) == 40 and found["changed"] is False
