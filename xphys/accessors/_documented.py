"""Methods that show the docstring of the function they call, loaded only when looked at."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, TypeVar, cast

__all__ = ["documented", "steps"]

F = TypeVar("F", bound=Callable[..., Any])

_PARAMETERS = re.compile(r"^Parameters\n-{3,}\n", re.MULTILINE)
_ENTRY = re.compile(r"(?:\S[^\n]*\n(?:(?:[ \t][^\n]*)?\n)*)")


class _Documented:
    """Descriptor of a method whose docstring lives at ``target``."""

    def __init__(self, method: FunctionType, target: str) -> None:
        self._method = method
        self.target = target
        self.summary = (method.__doc__ or "").strip().partition("\n")[0]
        self._loaded = False

    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        if not self._loaded:
            # Reading the attribute is the first moment at which anyone can ask for its
            # docstring; calling it would import the same module anyway.
            self._method.__doc__ = _load(self.target) or self._method.__doc__
            self._loaded = True
        return self._method if instance is None else MethodType(self._method, instance)


def _load(target: str) -> str | None:
    module, _, name = target.partition(":")
    try:
        doc = getattr(importlib.import_module(module), name).__doc__
    except ImportError:  # a package is missing: the call will say which, the short line stays
        return None
    return None if doc is None else without_first_parameter(doc)


def without_first_parameter(doc: str) -> str:
    """Cut the first name (the object itself) out of a numpydoc Parameters section."""
    doc = inspect.cleandoc(doc) + "\n"
    heading = _PARAMETERS.search(doc)
    entry = None if heading is None else _ENTRY.match(doc, heading.end())
    if heading is None or entry is None:
        return doc.rstrip()
    first, comma, _ = entry.group().partition(" : ")[0].partition(", ")
    if comma:  # "test, reference : Dataset" documents the others as well
        return (doc[: entry.start()] + doc[entry.start() + len(first + comma) :]).rstrip()
    rest = doc[entry.end() :]
    # Where the object was the only parameter, the next line is the title of a section.
    lines = rest.split("\n", 2)
    alone = len(lines) < 2 or set(lines[1].strip()) == {"-"}
    return (doc[: heading.start() if alone else heading.end()] + rest).rstrip()


def documented(target: str) -> Callable[[F], F]:
    """Give a method the docstring of the function that it calls.

    Parameters
    ----------
    target : str
        ``"module:name"`` of the function; imported when the method is first looked at.

    Returns
    -------
    callable
        Decorator that keeps the method's own signature.
    """

    def decorate(method: F) -> F:
        return cast(F, _Documented(cast(FunctionType, method), target))

    return decorate


def steps(owner: type) -> dict[str, str]:
    """Names and first docstring lines of the documented methods of a class, importing nothing.

    Parameters
    ----------
    owner : type
        An accessor class.

    Returns
    -------
    dict
        Method name -> one line, in the order of the class.
    """
    members = {name: vars(base)[name] for base in reversed(owner.__mro__) for name in vars(base)}
    return {name: m.summary for name, m in members.items() if isinstance(m, _Documented)}
