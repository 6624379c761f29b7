"""What is written for people is short, true to the code, and the same everywhere.

`python tests/policy/test_docs.py` writes the table of keys in docs/recipe.md and the pages of rules anew.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from torchkiln.recipe import wanted
from torchkiln.recipe.schema import Recipe

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"

# What belongs to one machine or one registry has no place here; written so that this file does not match.
PRIVATE = [
    re.compile(pattern)
    for pattern in (
        r"/wor" + r"k/",
        r"/roo" + r"t\b",
        r"/opt/pyp" + r"i",
        r"/hom" + r"e/\w",
        r"pythonhoste" + r"d",
        r"--(extra-)?index-ur" + r"l",
        r"CONTRAC" + r"T\.md",
    )
]


# The table of keys


def table() -> str:
    """Every key of a recipe: what it takes, its default, and what it does."""
    rows = ["| key | takes | default | what it does |", "|---|---|---|---|"]
    for path, node in keys(wanted.json_schema(), ""):
        said = " ".join(str(node.get("description", "")).split())
        default = yaml.safe_dump(node["default"], default_flow_style=True) if "default" in node else ""
        default = default.replace("...", "").strip()
        cells = (f"`{path}`", wanted.describe(node), f"`{default}`" if default else "", said)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def keys(node: wanted.Node, prefix: str) -> Iterator[tuple[str, wanted.Node]]:
    """Dotted paths of the leaves; the entries of a list are shown as `groups[].lr`."""
    for option in wanted.options(node):
        for key, below in option.get("properties", {}).items():
            inside = [o for o in wanted.options(below) if o.get("properties")]
            items = [o["items"] for o in wanted.options(below) if isinstance(o.get("items"), dict)]
            listed = [i for item in items for i in wanted.options(item) if i.get("properties")]
            if listed:
                yield f"{prefix}{key}", below
                yield from keys(items[0], f"{prefix}{key}[].")
            elif inside:
                yield from keys(below, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", below


def page_with(table: str) -> str:
    text = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def test_the_table_of_keys_is_that_of_the_schema() -> None:
    assert table().count("\n") > 60
    assert (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8") == page_with(table())


def unknown_keys(text: str) -> list[str]:
    """Words in backticks that look like keys of a recipe and are none."""
    known = set(wanted.known_paths())
    sections = set(Recipe.model_fields)
    said = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:=[^`]*)?`", text)
    mine = [key for key in said if key.split(".")[0] in sections]
    return [key for key in mine if key not in known and f"{key.rpartition('.')[0]}" not in OPEN]


OPEN = {"model.args", "model.init_args", "data.init_args", "loss.init_args"}
NOT_KEYS = {"data.yaml", "model.onnx", "model.torchscript.pt"}


def test_keys_named_in_the_docs_exist() -> None:
    assert len(DOCS) >= 5
    for page in [*DOCS, ROOT / "README.md"]:
        assert set(unknown_keys(page.read_text(encoding="utf-8"))) <= NOT_KEYS, page.name


def test_an_unknown_key_is_seen() -> None:
    assert unknown_keys("`train.epochs=3`, `train.epoch`, `model.args.width`") == ["train.epoch"]


NET_COLUMNS = {"README.md": 3, "docs/data.md": 2}


@pytest.mark.parametrize("page", NET_COLUMNS)
def test_nets_named_in_the_docs_exist(page: str) -> None:
    from torchkiln.models import images, tables, text

    known = {*images.names(), *tables.NETS, text.BAG, text.TRANSFORMER}
    lines = [x for x in (ROOT / page).read_text(encoding="utf-8").splitlines() if x.startswith("| `") and "_class" in x]
    cells = " ".join(line.split("|")[NET_COLUMNS[page]] for line in lines)
    named = {name for name in re.findall(r"`([^`]+)`", cells) if ":" not in name}
    assert len(lines) >= 3
    assert {"small_conv", "tabm", "ngram_bag"} <= named <= known


# The pages of rules


def rule_pages() -> dict[str, str]:
    """File in docs/rules to what is in it: a page a rule, and the list of all in lint.md's own table."""
    from torchkiln.checks import catalogue

    pages = {f"{page.id}.md": page.markdown() for page in catalogue.pages().values()}
    rows = [f"| [{p.id}]({p.id}.md) | {p.title} |" for p in catalogue.pages().values()]
    return {**pages, "README.md": "\n".join(["# The rules", "", "| rule | finds |", "|---|---|", *rows]) + "\n"}


def test_the_pages_of_rules_are_those_of_their_modules() -> None:
    there = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / "docs" / "rules").glob("*.md")}
    assert len(there) > 50
    assert there == rule_pages()


# The README and its neighbours


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert len(text.splitlines()) <= 150
    assert len(re.findall(r"^#+ ", outside, flags=re.MULTILINE)) <= 5


def test_links_lead_somewhere() -> None:
    found = 0
    for page in [*DOCS, *ROOT.glob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http:", "https:")):
                found += 1
                assert (page.parent / link).exists(), f"{page.name}: {link}"
    assert found >= 5


def test_make_targets_named_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set()
    for page in [*DOCS, *ROOT.glob("*.md")]:
        named |= set(re.findall(r"^make ([\w-]+)|`make ([\w-]+)`", page.read_text(encoding="utf-8"), re.MULTILINE))
    words = {word for pair in named for word in pair if word}
    assert {"install", "demo", "prove-resume", "test"} <= words <= targets


def test_every_error_code_is_explained() -> None:
    from torchkiln import errors

    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    own = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.KilnError)]
    codes = {e.code for e in own} - {"K000"}
    assert set(re.findall(r"K\d{3}", text)) == codes


def test_the_run_directory_page_names_what_a_run_writes() -> None:
    """The list that the end-to-end test checks a real run against."""
    listed = (ROOT / "tests" / "e2e" / "test_cli_line.py").read_text(encoding="utf-8")
    listed = listed.partition("FILES = {")[2].partition("}")[0]
    files = re.findall(r'^    "([a-z.]+)",$', listed, re.MULTILINE)
    text = (ROOT / "docs" / "run-directory.md").read_text(encoding="utf-8")
    assert len(files) >= 15
    assert [name for name in files if f"`{name}" not in text] == []


def test_the_version_is_the_same_everywhere() -> None:
    import torchkiln

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest
    assert newest[1] == project["version"] == torchkiln.__version__


# The whole repository


def repository() -> list[Path]:
    """Files that are, or are about to be, in the repository."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("the list of files comes from git, and this is no checkout")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def private(path: Path) -> list[str]:
    """What a file holds that belongs to one machine."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    return [found[0] for pattern in PRIVATE if (found := pattern.search(text))]


def test_nothing_private_is_in_the_repository() -> None:
    files = repository()
    assert len(files) > 50
    assert {str(path.relative_to(ROOT)): private(path) for path in files if private(path)} == {}


def test_something_private_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("see /wor" + "k/shared\n", encoding="utf-8")
    assert private(path)


if __name__ == "__main__":
    (ROOT / "docs" / "recipe.md").write_text(page_with(table()), encoding="utf-8")
    (ROOT / "docs" / "rules").mkdir(exist_ok=True)
    for name, text in rule_pages().items():
        (ROOT / "docs" / "rules" / name).write_text(text, encoding="utf-8")
