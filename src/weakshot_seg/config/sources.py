"""Modules that are read and not run, for importing them takes seconds: what a name stands for in them."""

import ast
import builtins
import importlib
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Union

QUICK = sys.stdlib_module_names | {"annotated_types", "typing_extensions"}  # of these the values themselves are taken
Binding = tuple[ast.stmt, ast.alias | None]  # a statement; if it imports, also the part that binds the name


class UnknownSourceError(LookupError):
    """There is no source, or it does not tell."""


@dataclass(frozen=True)
class Definition:
    """What binds a name in the module of a source."""

    source: "Source"
    node: ast.stmt

    def find(self, name: str) -> "Definition":
        """A method of a class, its own or that of a base class."""
        if not isinstance(self.node, ast.ClassDef):
            raise UnknownSourceError(name)
        for statement in self.node.body:
            if isinstance(statement, ast.FunctionDef) and statement.name == name:
                return Definition(self.source, statement)
        for base in self.node.bases:
            parent = self.source.follow(ast.unparse(base).split("[")[0])
            if isinstance(parent, Definition):
                with suppress(UnknownSourceError):
                    return parent.find(name)
        raise UnknownSourceError(name)


@dataclass(frozen=True)
class Source:
    """A module and its file."""

    module: str
    file: Path

    @property
    def names(self) -> dict[str, Binding]:
        """What binds the names of the module."""
        return _names(self.file)

    def find(self, name: str, seen: frozenset[str] = frozenset()) -> Union["Source", Definition]:
        """What a name of the module is, also one that it imports; or a module in it.

        Of ``seen`` modules all names are imported already.
        """
        own = f"{self.module}.{name}"
        if name in self.names and (origin := self.origin(name)) != own:  # packages import their modules from themselves
            return locate(origin) if origin else Definition(self, self.names[name][0])
        with suppress(UnknownSourceError):
            return source_of(own)
        stars = {str(self.origin(name)) for name in self.names if name.startswith("*")}
        for star in sorted(stars - seen):
            with suppress(UnknownSourceError):
                return source_of(star).find(name, seen | stars)
        raise UnknownSourceError(own)

    def follow(self, name: str) -> Union["Source", Definition]:
        """As :meth:`find`, of a name with dots."""
        return _within(self, name.split("."))

    def origin(self, name: str) -> str | None:
        """The full name of what an import binds to a name; None if the name is defined here."""
        node, part = self.names[name]
        if part is None:
            return None
        if not isinstance(node, ast.ImportFrom):
            return part.name if part.asname else name
        package = self.module.split(".") + ([""] if self.file.stem == "__init__" else [])
        parents = package[: -node.level] if node.level else []
        return ".".join([*parents, *filter(None, [node.module]), *([] if part.name == "*" else [part.name])])

    @property
    def package(self) -> str:
        """The first part of the module's name."""
        return self.module.split(".")[0]

    def value(self, expression: ast.expr, otherwise: Any) -> Any:
        """Of an annotation or a constant; ``otherwise`` if only running the module tells.

        Empty classes stand in for those of the same name.
        """
        try:
            value = eval(compile(ast.Expression(expression), str(self.file), "eval"), {}, _Values(self))
        except Exception:
            return otherwise
        return otherwise if isinstance(value, Unread) else value


class Unread:
    """Stands in for anything, in annotations."""

    def _same(self, *args: Any, **kwargs: Any) -> "Unread":
        return self

    __call__ = __getitem__ = __or__ = __ror__ = _same


class _Values(dict[str, Any]):
    """The names of a module, as ``eval`` wants them."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    def __missing__(self, name: str) -> Any:
        if name not in self.source.names and hasattr(builtins, name):
            raise KeyError(name)
        origin = self.source.origin(name) if name in self.source.names else None
        if origin and origin.split(".")[0] in QUICK:
            module, _, part = origin.rpartition(".")
            return getattr(importlib.import_module(module), part) if module else importlib.import_module(origin)
        try:
            return _stand_in(self.source.find(name))
        except (UnknownSourceError, RecursionError):  # modules that import all names of each other
            return Unread()


class _Attributes(Unread):
    """The names of a module that another one imports whole."""

    def __init__(self, source: Source) -> None:
        self.values = _Values(source)

    def __getattr__(self, name: str) -> Any:
        return self.values[name]


def exists(name: str) -> bool:
    """Whether a full name of a package with sources stands for something."""
    try:
        return bool(locate(name))
    except UnknownSourceError:
        return False


def _stand_in(found: Source | Definition) -> Any:
    if isinstance(found, Source):
        return _Attributes(found)
    match found.node:
        case ast.ClassDef():
            return _empty_class(found)
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            return found.source.value(value, Unread())
    return Unread()


@cache
def _empty_class(definition: Definition) -> type:
    """A class of the same name, iterable if the original is."""
    assert isinstance(definition.node, ast.ClassDef)
    members: dict[str, Any] = {"__class_getitem__": classmethod(lambda cls, item: cls)}
    with suppress(UnknownSourceError):
        members["__iter__"] = definition.find("__iter__")
    return type(definition.node.name, (), members)


@cache
def locate(name: str) -> Source | Definition:
    """What a full name stands for. Raises :class:`UnknownSourceError`."""
    top, *rest = name.split(".")
    return _within(source_of(top), rest)


def _within(found: Source | Definition, parts: Iterable[str]) -> Source | Definition:
    for part in parts:
        found = found.find(part)
    return found


@cache
def source_of(module: str) -> Source:
    """The source of a module. Raises :class:`UnknownSourceError`."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
    except ValueError:  # as of __main__
        spec = None
    for folder in (spec.submodule_search_locations or [str(spec.origin).removesuffix(".py")]) if spec else ():
        place = Path(folder, *rest)
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file():
                return Source(module, file)
    raise UnknownSourceError(module)


@cache
def _names(file: Path) -> dict[str, Binding]:
    try:
        return _bindings(ast.parse(file.read_bytes()).body)
    except SyntaxError as error:
        raise UnknownSourceError(str(file)) from error


def _bindings(body: list[ast.stmt]) -> dict[str, Binding]:
    """Of two branches the first counts, as where a ``try`` imports and an ``except`` does without."""
    found: dict[str, Binding] = {}
    for node in body:
        match node:
            case ast.ImportFrom(names=[ast.alias(name="*") as star]):
                found[f"*{len(found)}"] = node, star
            case ast.Import(names=parts) | ast.ImportFrom(names=parts):
                found |= {part.asname or part.name.split(".")[0]: (node, part) for part in parts}
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                found[name] = node, None
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node, None
            case ast.If() | ast.Try():
                others = [*node.orelse, *(s for handler in getattr(node, "handlers", ()) for s in handler.body)]
                found |= _bindings(others) | _bindings(node.body)
    return found
