"""How well lint finds what is labelled, how often it is wrong, and how fast it is.

    python benchmarks/lint.py [ROW ...] [--check] [--json FILE] [--env DIR]

    TORCHKILN_LABELLED=DIR   a folder of Python files and notebooks
    TORCHKILN_CORPUS=DIR     a folder of code to time; by default the packages beside this one's Python

Labels: a comment `# expect: E101` (several with commas) at the end of the line where a finding is due, or labels.json
in the folder: {"path/in/folder.py": {"12": ["E101"]}}. A path with an empty table, and a file without comments, is
clean.
A rule that is given as a tier alone (`# expect: E`) is met by any rule of that tier. With labels.json a line may be
given as "*", for anywhere in the file. Tiers that no label of the folder names are left out of the precision.

Rows: `labelled` recall and precision of each tier; `time` lines in a second on one core, beside TorchFix.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

from figures import Figure, command_line, in_turns, median, peers_python, run

EXPECT = re.compile(r"#\s*expect:\s*([A-Z0-9, ]+?)\s*$")
LINES = 159_000
TORCHFIX = ("torchfix==0.7.0", "flake8", "libcst")

Labels = dict[str, dict[str, list[str]]]


def labels_of(folder: Path) -> Labels:
    """File to line to rules, from labels.json or the comments."""
    given = folder / "labels.json"
    if given.is_file():
        found: Labels = json.loads(given.read_text(encoding="utf-8"))
        return found
    found = {}
    for file in sorted(folder.rglob("*.py")):
        lines = enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        marked = {str(n): re.split(r"[, ]+", m[1]) for n, line in lines if (m := EXPECT.search(line))}
        found[file.relative_to(folder).as_posix()] = marked
    return found


def met(rule: str, line: int | None, due: dict[str, list[str]]) -> list[tuple[str, str]]:
    """The labels of a file that a finding meets: (line, label)."""
    return [(n, w) for n, words in due.items() if n in ("*", str(line)) for w in words if w in (rule, rule[0])]


def scored(folder: Path) -> dict[str, Counter[str]]:
    """Of each tier: due, found (of those), right and wrong findings."""
    from torchkiln.checks.lint.run import lint
    from torchkiln.checks.lint.settings import Settings

    labels = labels_of(folder)
    tiers = {word[0] for due in labels.values() for words in due.values() for word in words}
    report = lint([folder], Settings(strict="S" in tiers))
    counts: dict[str, Counter[str]] = {tier: Counter() for tier in sorted(tiers)}
    hit: set[tuple[str, str, str]] = set()
    for one in report:
        name = Path(str(one.file)).relative_to(folder).as_posix()
        if one.tier not in counts or name not in labels:
            continue
        places = met(one.rule, one.line, labels[name])
        counts[str(one.tier)]["right" if places else "wrong"] += 1
        hit |= {(name, *place) for place in places}
        if not places:
            print(f"  not labelled: {one.file}:{one.line} {one.rule} {one.message}", file=sys.stderr)
    for name, due in labels.items():
        for line, words in due.items():
            for word in words:
                counts[word[0]]["due"] += 1
                counts[word[0]]["found"] += (name, line, word) in hit
                if (name, line, word) not in hit:
                    print(f"  missed: {name}:{line} {word}", file=sys.stderr)
    return counts


def labelled(folder: Path, env: Path) -> list[Figure]:
    """Recall and precision on a labelled folder."""
    place = os.environ.get("TORCHKILN_LABELLED")
    if not place:
        print("labelled: TORCHKILN_LABELLED names no folder", file=sys.stderr)
        return []
    figures = []
    for tier, c in scored(Path(place)).items():
        said = c["right"] + c["wrong"]
        recall = c["found"] / c["due"] if c["due"] else 1.0
        precision = c["right"] / said if said else 1.0
        figures.append(Figure("labelled", f"{tier}: recall", f"{recall:.3f} ({c['found']} of {c['due']})", "", ""))
        figures.append(Figure("labelled", f"{tier}: precision", f"{precision:.3f} ({c['right']} of {said})", "", ""))
    return figures


def corpus(folder: Path) -> tuple[Path, int]:
    """A folder of about LINES lines of code, copied from the corpus, and how many it has."""
    packages = Path(next(p for p in sys.path if p.endswith("site-packages")))
    given = os.environ.get("TORCHKILN_CORPUS")
    roots = [Path(given)] if given else [packages / n for n in ("lightning", "torchvision", "timm")]
    place, lines = folder / "corpus", 0
    for root, file in ((r, f) for r in roots for f in sorted(r.rglob("*.py"))):
        text = file.read_text(encoding="utf-8", errors="replace")
        if lines >= LINES and not given:
            break
        target = place / root.name / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        lines += text.count("\n")
    return place, lines


def speed(folder: Path, env: Path) -> list[Figure]:
    """CPU seconds for LINES lines, beside TorchFix."""
    place, lines = corpus(folder)
    theirs = peers_python(env, "torchfix", TORCHFIX)
    ours = [sys.executable, __file__, "--lint", place]
    peer = [theirs, "-m", "torchfix", "--select=ALL", place]
    found = in_turns({"ours": lambda: run(ours)}, 3)
    beside = run(peer)
    cpu = median(found["ours"], "cpu") * LINES / lines
    other = beside["cpu"] * LINES / lines
    if not found["ours"][0]["files"]:
        raise SystemExit(f"{place}: nothing was read")
    text = f"{cpu:.1f} s CPU for {LINES:,} lines (measured on {lines:,})"
    return [Figure("time", "one core", text, "at most 10 s", f"TorchFix {other:.0f} s", cpu <= 10)]


def linted(place: Path) -> None:
    """The program that is timed."""
    from torchkiln.checks.lint.run import lint

    begun = time.process_time()
    report = lint([place])
    print(
        json.dumps({"findings": len(report), "files": len(report.read.sources), "inner": time.process_time() - begun})
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--lint"]:
        linted(Path(sys.argv[2]))
    else:
        sys.exit(command_line(__doc__ or "", {"labelled": labelled, "time": speed}))
