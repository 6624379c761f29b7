"""One file of Python, parsed and indexed in a single walk: functions, classes, calls, assignments, names.

Nothing that is read is imported or executed.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torchkiln.checks.lint import names

Functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Loops = ast.For | ast.AsyncFor | ast.While
SKIPPED = {"ctx", "op", "ops", "type_comment", "kind", "type_ignores", "returns", "annotation", "type_params"}


@dataclass(eq=False)
class Assign:
    """A name or a `self.name` that gets a value.

    Args:
        node: The statement, or what else binds the name.
        value: The expression; None where it cannot be told.
        how: `=`, `+=` (any augmented), `for` (an element of value), `with`, or the place of a tuple as `[1]`.
    """

    node: ast.AST
    value: ast.expr | None
    how: str = "="


@dataclass(eq=False)
class Function:
    """A function, a method, a lambda, or a module's own statements (name `<module>`)."""

    source: Source
    node: ast.AST
    name: str
    owner: Class | None = None
    outer: Function | None = None
    params: list[str] = field(default_factory=list)
    calls: list[ast.Call] = field(default_factory=list)
    returns: list[ast.expr] = field(default_factory=list)
    assigns: dict[str, list[Assign]] = field(default_factory=lambda: defaultdict(list))
    inner: dict[str, Function] = field(default_factory=dict)
    loops: list[Loops] = field(default_factory=list)

    @property
    def body(self) -> list[ast.stmt]:
        """Its statements."""
        if isinstance(self.node, ast.Lambda):
            return [ast.copy_location(ast.Expr(self.node.body), self.node.body)]
        return getattr(self.node, "body", [])

    @property
    def is_method(self) -> bool:
        """Whether its first parameter is `self`."""
        return self.owner is not None and self.params[:1] == ["self"]

    @property
    def decorators(self) -> list[ast.expr]:
        return getattr(self.node, "decorator_list", [])

    def default(self, param: str) -> ast.expr | None:
        """What a parameter is where it is not given."""
        arguments: ast.arguments = self.node.args  # type: ignore[attr-defined]
        positional = [*arguments.posonlyargs, *arguments.args]
        for one, value in zip(positional[::-1], arguments.defaults[::-1], strict=False):
            if one.arg == param:
                return value
        for one, given in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if one.arg == param:
                return given
        return None


@dataclass(eq=False)
class Class:
    """A class: its bases as written out in full, its methods, and what its methods assign to `self`."""

    source: Source
    node: ast.ClassDef
    name: str
    bases: list[str] = field(default_factory=list)
    methods: dict[str, Function] = field(default_factory=dict)
    attrs: dict[str, list[tuple[Function, Assign]]] = field(default_factory=lambda: defaultdict(list))


Scope = tuple[Function, Class | None]


class Source:
    """A parsed file.

    Args:
        name: As the person named it; of a notebook's cell with the cell's number behind a colon.
        text: Python.
        module: Its path as a dotted name, which ends as an import may write it.
        tree: The parsed text, where it is at hand.

    Raises:
        SyntaxError: The text is no Python.
    """

    def __init__(self, name: str, text: str, module: str = "", tree: ast.Module | None = None) -> None:
        self.name, self.text, self.module = name, text, module
        self.tree = tree or ast.parse(text)
        self.parents: dict[ast.AST, ast.AST] = {}
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []
        self.functions: list[Function] = []
        self.classes: dict[str, Class] = {}
        self.calls: list[tuple[ast.Call, Function]] = []
        self.owners: dict[ast.AST, Function] = {}
        self._resolved: dict[ast.AST, str] = {}
        self.top = Function(self, self.tree, "<module>")
        self._index()
        self._close()

    @property
    def lines(self) -> list[str]:
        """The text's lines, without their ends."""
        return self.text.splitlines()

    # The walk

    def _index(self) -> None:
        parents = self.parents
        stack: list[tuple[ast.AST, Function, Class | None]] = [(self.tree, self.top, None)]
        self.functions.append(self.top)
        while stack:
            node, function, home = stack.pop()
            visit = VISITORS.get(type(node))
            if visit is not None:
                function, home = visit(self, node, function, home)
            children = []
            for name in node._fields:
                if name in SKIPPED:
                    continue
                value = getattr(node, name, None)
                if type(value) is list:
                    for one in value:
                        if isinstance(one, ast.AST):
                            parents[one] = node
                            children.append((one, function, home))
                elif isinstance(value, ast.AST):
                    parents[value] = node
                    children.append((value, function, home))
            stack.extend(children[::-1])

    def _call(self, node: ast.Call, function: Function, home: Class | None) -> Scope:
        self.calls.append((node, function))
        function.calls.append(node)
        return function, home

    def _function(self, node: Functions, function: Function, home: Class | None) -> Scope:
        name = getattr(node, "name", "<lambda>")
        arguments = node.args
        params = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        made = Function(self, node, name, home, function, params)
        self.functions.append(made)
        self.owners[node] = made
        if home is not None:
            home.methods.setdefault(name, made)
        elif name != "<lambda>":
            function.inner[name] = made
        if isinstance(node, ast.Lambda):
            made.returns.append(node.body)
        return made, None

    def _class(self, node: ast.ClassDef, function: Function, home: Class | None) -> Scope:
        made = Class(self, node, node.name)
        self.classes.setdefault(node.name, made)
        return function, made

    def _import(self, node: ast.Import, function: Function, home: Class | None) -> Scope:
        for alias in node.names:
            self.imports[alias.asname or alias.name.partition(".")[0]] = (
                alias.name if alias.asname else alias.name.partition(".")[0]
            )
        return function, home

    def _import_from(self, node: ast.ImportFrom, function: Function, home: Class | None) -> Scope:
        base = node.module or ""
        if node.level:
            parts = self.module.split(".")
            up = node.level - self.name.endswith("__init__.py")
            base = ".".join([*parts[: max(0, len(parts) - up)], *([base] if base else [])])
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(base)
            else:
                self.imports[alias.asname or alias.name] = f"{base}.{alias.name}" if base else alias.name
        return function, home

    def _assign(self, node: ast.Assign, function: Function, home: Class | None) -> Scope:
        for target in node.targets:
            self._bind(target, Assign(node, node.value), function, home)
        return function, home

    def _ann_assign(self, node: ast.AnnAssign | ast.NamedExpr, function: Function, home: Class | None) -> Scope:
        if node.value is not None:
            self._bind(node.target, Assign(node, node.value), function, home)
        return function, home

    def _aug_assign(self, node: ast.AugAssign, function: Function, home: Class | None) -> Scope:
        self._bind(node.target, Assign(node, node.value, "+="), function, home)
        return function, home

    def _for(self, node: ast.For, function: Function, home: Class | None) -> Scope:
        function.loops.append(node)
        self._bind(node.target, Assign(node, node.iter, "for"), function)
        return function, home

    def _while(self, node: ast.While, function: Function, home: Class | None) -> Scope:
        function.loops.append(node)
        return function, home

    def _with(self, node: ast.With, function: Function, home: Class | None) -> Scope:
        for item in node.items:
            if item.optional_vars is not None:
                self._bind(item.optional_vars, Assign(node, item.context_expr, "with"), function)
        return function, home

    def _return(self, node: ast.Return, function: Function, home: Class | None) -> Scope:
        if node.value is not None:
            function.returns.append(node.value)
        return function, home

    def _bind(self, target: ast.expr, assign: Assign, function: Function, home: Class | None = None) -> None:
        if home is not None:  # in a class's own body
            if isinstance(target, ast.Name):
                home.attrs[target.id].append((function, assign))
            return
        if isinstance(target, ast.Tuple | ast.List):
            value = assign.value
            for place, one in enumerate(target.elts):
                if (
                    assign.how == "="
                    and isinstance(value, ast.Tuple | ast.List)
                    and len(value.elts) == len(target.elts)
                ):
                    self._bind(one, Assign(assign.node, value.elts[place]), function)
                else:
                    how = f"[{place}]" if assign.how == "=" else assign.how
                    self._bind(one, Assign(assign.node, value, how), function)
            return
        if isinstance(target, ast.Starred):
            target = target.value
        key = dotted(target)
        if key:
            function.assigns[key].append(assign)

    def _close(self) -> None:
        """What can be known only when all has been seen."""
        for one in self.classes.values():
            one.bases = [self.resolve(base) for base in one.node.bases]
            for method in one.methods.values():
                for function in (method, *method.inner.values()):
                    for key, assigns in function.assigns.items():
                        if key.startswith("self.") and key.count(".") == 1:
                            one.attrs[key[5:]] += [(function, a) for a in assigns]

    # Names

    def resolve(self, node: ast.AST | None) -> str:
        """`nn.Linear` as `torch.nn.Linear`; what was not imported as it is written; "" where it has no name."""
        if node is None:
            return ""
        known = self._resolved.get(node)
        if known is None:
            known = self._resolved[node] = self._resolve(dotted(node))
        return known

    def _resolve(self, written: str) -> str:
        if not written:
            return ""
        first, dot, rest = written.partition(".")
        home = self.imports.get(first)
        if home is None:
            if first in self.top.assigns or first in self.classes or first in self.top.inner:
                return written
            home = names.FALLBACK.get(first, first)
        return names.canonical(home + dot + rest)

    def called(self, call: ast.Call) -> str:
        """The full name of what is called."""
        return self.resolve(call.func)

    # Places

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around a node, from the inside out."""
        parent = self.parents.get(node)
        while parent is not None:
            yield parent
            parent = self.parents.get(parent)

    def function_of(self, node: ast.AST) -> Function:
        """The function whose code a node is."""
        for one in self.above(node):
            if one in self.owners:
                return self.owners[one]
        return self.top

    def statement(self, node: ast.AST) -> ast.stmt:
        """The statement that a node is in."""
        if isinstance(node, ast.stmt):
            return node
        return next(one for one in self.above(node) if isinstance(one, ast.stmt))

    def segment(self, node: ast.AST) -> str:
        """A node as it is written."""
        return ast.get_source_segment(self.text, node) or ""


Visitor = Callable[[Source, Any, Function, "Class | None"], Scope]
VISITORS: dict[type, Visitor] = {
    ast.Call: Source._call,
    ast.FunctionDef: Source._function,
    ast.AsyncFunctionDef: Source._function,
    ast.Lambda: Source._function,
    ast.ClassDef: Source._class,
    ast.Import: Source._import,
    ast.ImportFrom: Source._import_from,
    ast.Assign: Source._assign,
    ast.AnnAssign: Source._ann_assign,
    ast.AugAssign: Source._aug_assign,
    ast.NamedExpr: Source._ann_assign,
    ast.For: Source._for,
    ast.AsyncFor: Source._for,
    ast.While: Source._while,
    ast.With: Source._with,
    ast.AsyncWith: Source._with,
    ast.Return: Source._return,
}


def dotted(node: ast.AST) -> str:
    """`a.b.c` of names and attributes; a subscript by a constant or a name is kept as `a[0]`; else ""."""
    parts: list[str] = []
    while True:
        if type(node) is ast.Attribute:
            parts.append(node.attr)
            node = node.value
        elif type(node) is ast.Name:
            parts.append(node.id)
            return ".".join(parts[::-1])
        elif type(node) is ast.Subscript and isinstance(node.slice, ast.Constant | ast.Name | ast.UnaryOp):
            parts.append(f"[{ast.unparse(node.slice)}]")
            node = node.value
        else:
            return ""


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value of a keyword argument."""
    return next((k.value for k in call.keywords if k.arg == name), None)


def argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    """The value of an argument that may stand at a place or by its name."""
    if len(call.args) > place and not any(isinstance(a, ast.Starred) for a in call.args[: place + 1]):
        return call.args[place]
    return keyword(call, name)


def spread(call: ast.Call) -> bool:
    """Whether some arguments cannot be told: `*args` or `**options`."""
    return any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)


def constant(node: ast.AST | None) -> object:
    """The value of a literal; Ellipsis for all else."""
    return node.value if isinstance(node, ast.Constant) else ...


def position(node: ast.AST) -> tuple[int, int]:
    """Line and column."""
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """A node and those below it, in the order of the text, not into functions and classes below it."""
    stack = [node]
    while stack:
        one = stack.pop()
        yield one
        if one is not node and isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        stack.extend(list(ast.iter_child_nodes(one))[::-1])
