"""The files given, as one: which function a call means, what a class derives from, which files belong together."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from torchkiln.checks.lint import names
from torchkiln.checks.lint.source import Assign, Class, Function, Source, dotted

DEEPEST = 8


class Project:
    """All files that are looked at together.

    Args:
        sources: The parsed files.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = list(sources)
        self._by_tail: dict[str, list[Source]] = defaultdict(list)
        for source in self.sources:
            if source.module:
                self._by_tail[source.module.rpartition(".")[2]].append(source)
        self._bases: dict[Class, set[str]] = {}
        self._targets: dict[ast.Call, Function | Class | None] = {}
        self.callers: dict[Function, list[tuple[ast.Call, Function]]] = defaultdict(list)
        for source in self.sources:
            for call, function in source.calls:
                target = self.target(call, function)
                if isinstance(target, Class):
                    target = self.method(target, "__init__")
                if target is not None and target is not function:
                    self.callers[target].append((call, function))
        self._related: dict[Source, list[Source]] = {}

    # Names across files

    def module(self, name: str, beside: Source) -> Source | None:
        """The file that a dotted module name means: the one whose own name agrees with it longest."""
        parts = name.split(".")
        found = [s for s in self._by_tail.get(parts[-1], []) if _agree(s.module, name)]
        if len(found) > 1:
            near = beside.module.split(".")[:-1]
            found.sort(key=lambda s: -_shared(s.module.split("."), near))
        return found[0] if found else None

    def object(self, name: str, source: Source) -> Function | Class | None:
        """The function or class of the project that a full name means, seen from a file."""
        if not name:
            return None
        if "." not in name:
            found = source.classes.get(name) or source.top.inner.get(name)
            if found is not None:
                return found
            for base in source.stars:
                home = self.module(base, source)
                there = home.classes.get(name) or home.top.inner.get(name) if home is not None else None
                if there is not None:
                    return there
            return None
        base, _, last = name.rpartition(".")
        home = self.module(base, source)
        if home is not None:
            return home.classes.get(last) or home.top.inner.get(last) or self._passed_on(last, home)
        owner = self.object(base, source)
        return self.method(owner, last) if isinstance(owner, Class) else None

    def _passed_on(self, name: str, home: Source) -> Function | Class | None:
        """What a module imports only to pass it on."""
        full = home.imports.get(name)
        if full is None or full == f"{home.module}.{name}":
            return None
        base, _, last = full.rpartition(".")
        there = self.module(base, home)
        return there.classes.get(last) or there.top.inner.get(last) if there and there is not home else None

    # Calls

    def target(self, call: ast.Call, function: Function) -> Function | Class | None:
        """The function or class of the project that is called; None where it is another's, or cannot be told."""
        if call in self._targets:
            return self._targets[call]
        self._targets[call] = None  # a class whose attribute is made by its own method ends here
        found = self._targets[call] = self._target(call.func, function)
        return found

    def _target(self, func: ast.expr, function: Function) -> Function | Class | None:
        if isinstance(func, ast.Name):
            around: Function | None = function
            while around is not None:
                if func.id in around.inner:
                    return around.inner[func.id]
                around = around.outer
            return self.object(function.source.resolve(func), function.source)
        if not isinstance(func, ast.Attribute):
            return None
        if isinstance(func.value, ast.Call) and dotted(func.value.func) == "super":
            home = self.home(function)
            return next((m for b in self.parents(home) if (m := self.method(b, func.attr))), None) if home else None
        written = dotted(func.value)
        if written == "self":
            home = self.home(function)
            return self.method(home, func.attr) if home else None
        found = self.object(function.source.resolve(func), function.source) if written else None
        if found is None:
            owner = self.instance(func.value, function)
            found = self.method(owner, func.attr) if owner is not None else None
        return found

    @staticmethod
    def home(function: Function) -> Class | None:
        """The class whose method a function is, or lies in."""
        around: Function | None = function
        while around is not None:
            if around.owner is not None:
                return around.owner
            around = around.outer
        return None

    def instance(self, value: ast.expr, function: Function, depth: int = 0) -> Class | None:
        """The project's class that a value is made from, where it is made in view."""
        if depth > 4:
            return None
        if isinstance(value, ast.Call):
            made = self.target(value, function)
            if isinstance(made, Class):
                return made
            if isinstance(value.func, ast.Attribute) and value.func.attr in names.METHODS_OF_SELF:
                return self.instance(value.func.value, function, depth + 1)
            if function.source.called(value) in names.WRAPPERS and value.args:
                return self.instance(value.args[0], function, depth + 1)
            return None
        key = dotted(value)
        for where, assign in self.bindings(key, function) if key else ():
            if assign.how == "=" and assign.value is not None and assign.value is not value:
                found = self.instance(assign.value, where, depth + 1)
                if found is not None:
                    return found
        return None

    def bindings(self, key: str, function: Function) -> Iterator[tuple[Function, Assign]]:
        """What a name, or a `self.name`, is bound to anywhere in view: (function, Assign), newest first."""
        around: Function | None = function
        first = key.partition(".")[0]
        while around is not None:
            if key in around.assigns:
                yield from ((around, a) for a in reversed(around.assigns[key]))
                if first != "self":
                    return
                break
            if first in around.params and first != "self":
                return
            around = around.outer
        if first == "self" and key.count(".") == 1:
            home = self.home(function)
            for one in (home, *self.parents(home)) if home is not None else ():
                yield from reversed(one.attrs.get(key[5:], ()))

    # Classes

    def parents(self, one: Class) -> list[Class]:
        """The project's classes that a class derives from, nearest first."""
        found: list[Class] = []
        waiting = [one]
        while waiting and len(found) < DEEPEST:
            here = waiting.pop(0)
            for base in here.bases:
                there = self.object(base, here.source)
                if isinstance(there, Class) and there is not one and there not in found:
                    found.append(there)
                    waiting.append(there)
        return found

    def bases(self, one: Class) -> set[str]:
        """Full names of all that a class derives from, in the project and out of it."""
        if one not in self._bases:
            self._bases[one] = {b for c in (one, *self.parents(one)) for b in c.bases}
        return self._bases[one]

    def method(self, one: Class, name: str) -> Function | None:
        """A class's method, or its parents'."""
        if name in one.methods:
            return one.methods[name]
        return next((p.methods[name] for p in self.parents(one) if name in p.methods), None)

    def is_module(self, one: Class | None) -> bool:
        """Whether a class derives from `nn.Module`."""
        if one is None:
            return False
        return bool(self.bases(one) & names.MODULES) or any(b.startswith("torch.nn.") for b in self.bases(one))

    def is_lightning(self, one: Class | None) -> bool:
        """Whether a class is a LightningModule, whose loop is Lightning's."""
        return one is not None and any(b.endswith("LightningModule") for b in self.bases(one))

    def is_dataset(self, one: Class | None) -> bool:
        """Whether a class is a data set."""
        if one is None:
            return False
        return any(b in names.DATASETS or b.endswith("Dataset") for b in self.bases(one)) or (
            "__getitem__" in one.methods and "__len__" in one.methods and one.name.endswith(("Dataset", "Data"))
        )

    # Files that belong together

    def related(self, source: Source) -> list[Source]:
        """A file, those that it imports and those that import it."""
        if not self._related:
            self._relate()
        return self._related[source]

    def _relate(self) -> None:
        near: dict[Source, dict[Source, None]] = {s: {s: None} for s in self.sources}
        for source in self.sources:
            for full in {*source.imports.values(), *source.stars}:
                there = self.module(full, source) or self.module(full.rpartition(".")[0], source)
                if there is not None:
                    near[source][there] = near[there][source] = None
        self._related = {source: list(found) for source, found in near.items()}

    def any_text(self, source: Source, words: Iterable[str]) -> bool:
        """Whether one of the words stands in the file or in those related to it."""
        return any(word in one.text for one in self.related(source) for word in words)


def _agree(module: str, wanted: str) -> bool:
    """Whether a file's dotted path ends as the wanted name does."""
    return module == wanted or module.endswith("." + wanted)


def _shared(module: list[str], near: list[str]) -> int:
    return sum(1 for a, b in zip(module, near, strict=False) if a == b)
