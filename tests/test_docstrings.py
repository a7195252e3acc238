"""numpydoc: every public function says what it takes, gives and raises."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Callable, Iterator

import pytest
from numpydoc.validate import validate

import xphys
import xphys.errors

# No docstring; no summary, no capital, no full stop, indented; parameters missing, unknown, out
# of order, without type or description; no Returns.
SIGNATURE_CHECKS = {"PR01", "PR02", "PR03", "PR04", "PR07"}
CHECKS = SIGNATURE_CHECKS | {"GL08", "SS01", "SS02", "SS03", "SS04", "RT01", "RT03"}
PACKAGES = [
    "xphys",
    *(f"xphys.{i.name}" for i in pkgutil.iter_modules(xphys.__path__) if i.name[0] != "_"),
]


def public_names() -> Iterator[str]:
    """Names only: nothing is loaded before a test asks for it."""
    for package in PACKAGES:
        for name in getattr(importlib.import_module(package), "__all__", ()):
            if not name.startswith("_") and not name.isupper():
                yield f"{package}.{name}"


def load(name: str) -> object:
    package, _, member = name.rpartition(".")
    return getattr(importlib.import_module(package), member)


NAMES = sorted(public_names())


def raised(function: Callable[..., object]) -> set[str]:
    """xphys's own errors in the raise statements of a function's body."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            called = node.exc.func
            found.add(called.id if isinstance(called, ast.Name) else getattr(called, "attr", ""))
    return {n for n in found if n in xphys.errors.__all__ and not n.endswith("Warning")}


def documented_errors(function: Callable[..., object]) -> str:
    text = inspect.getdoc(function) or ""
    _, _, after = text.partition("Raises\n------")
    return after


@pytest.mark.parametrize("name", NAMES)
def test_docstring(name):
    member = load(name)
    if not inspect.isroutine(member) and not inspect.isclass(member):
        return  # a type alias or a table
    checks = CHECKS
    if inspect.isclass(member):  # records and errors document attributes, not a signature
        checks = CHECKS - SIGNATURE_CHECKS
    found = [f"{code}: {text}" for code, text in validate(name)["errors"] if code in checks]
    assert not found, f"{name}: {'; '.join(found)}"


@pytest.mark.parametrize("name", NAMES)
def test_raises_section(name):
    function = load(name)
    if not inspect.isfunction(function):
        return
    missing = {error for error in raised(function) if error not in documented_errors(function)}
    assert not missing, f"{name} raises {sorted(missing)} and its docstring does not say so"


def test_the_checker_sees_a_raise():
    def guilty() -> None:
        raise xphys.errors.SchemaError("message")

    assert raised(guilty) == {"SchemaError"}
    assert documented_errors(guilty) == ""
