"""The arguments of what a ``_target_`` names, read from its source."""

import ast
from dataclasses import dataclass
from functools import cache
from typing import Any

from weakshot_seg.config.sources import Definition, Source, UnknownSourceError, locate


@dataclass(frozen=True)
class Signature:
    """Annotation and default of each argument that can be named, and whether others are taken."""

    arguments: dict[str, tuple[Any, Any]]
    takes_others: bool


ANYTHING = Signature({}, takes_others=True)


@cache
def signature(name: str, trusted: bool) -> Signature:
    """Of a function, class or class method, by its full name; :data:`ANYTHING` if the source does not tell.

    The source of ``trusted`` code does: its decorators change no arguments, and its classes are made in no odd way.
    What a class method takes besides its own arguments goes to the class.
    """
    try:
        found = locate(name)
    except (UnknownSourceError, RecursionError):
        return ANYTHING
    node = getattr(found, "node", None)
    decorators = {ast.unparse(decorator).split("(")[0] for decorator in getattr(node, "decorator_list", ())}
    if isinstance(found, Source) or (decorators - {"classmethod", "staticmethod"} and not trusted):
        return ANYTHING
    match found.node:
        case ast.ClassDef(body=body) if "dataclass" in decorators:
            fields = [node for node in body if isinstance(node, ast.AnnAssign)]
            arguments = {ast.unparse(f.target): _argument(found.source, f.annotation, f.value) for f in fields}
            return Signature(arguments, takes_others=False)
        case ast.ClassDef():
            return _of_class(found, trusted)
        case ast.FunctionDef(args=given):
            own = _of_function(found.source, given, bound="classmethod" in decorators)
            if not (own.takes_others and "classmethod" in decorators):
                return own
            of_class = signature(name.rpartition(".")[0], trusted)
            return Signature(of_class.arguments | own.arguments, of_class.takes_others)
    return ANYTHING


def _of_class(found: Definition, trusted: bool) -> Signature:
    try:
        constructor = found.find("__init__")
    except UnknownSourceError:
        return Signature({}, takes_others=not trusted)
    assert isinstance(constructor.node, ast.FunctionDef)
    taken = _of_function(constructor.source, constructor.node.args, bound=True)
    inherits_module = constructor.source.package == "torch"  # torch.nn.Module names any arguments and takes none
    return Signature(taken.arguments, taken.takes_others and not inherits_module)


def _of_function(source: Source, given: ast.arguments, bound: bool) -> Signature:
    positional = given.posonlyargs + given.args
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults + given.kw_defaults
    pairs = list(zip(positional + given.kwonlyargs, defaults, strict=True))[max(bound, len(given.posonlyargs)) :]
    arguments = {argument.arg: _argument(source, argument.annotation, default) for argument, default in pairs}
    return Signature(arguments, takes_others=given.kwarg is not None)


def _argument(source: Source, annotation: ast.expr | None, default: ast.expr | None) -> tuple[Any, Any]:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):  # in quotes
        annotation = ast.parse(annotation.value, mode="eval").body
    has_value = isinstance(default, ast.Constant | ast.Name | ast.Attribute | ast.Tuple | ast.UnaryOp)
    return (
        source.value(annotation, Any) if annotation else Any,
        source.value(default, None) if default and has_value else None,
    )
