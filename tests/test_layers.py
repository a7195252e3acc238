"""Who may import whom: every import of the package is read, none is executed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "xphys"

# The lines of the table in docs/design.md; the first has an order of its own.
LINES = (
    ("errors", "_lazy", "_version"),
    ("_optional", "_storage", "_streams"),
    ("schema",),
    ("_dims",),
    ("io", "stats", "fields", "spectra", "initial_conditions", "models", "coding"),
    ("solvers", "metrics", "features", "runtime"),
    ("training", "physics"),
    ("codecs", "tokenizers", "superres", "forecast", "generation"),
    ("plotting",),
    ("accessors",),
    ("cli",),
)
LEVEL = {unit: level for level, line in enumerate(LINES) for unit in line}
LEVEL_2 = LEVEL["metrics"]
TORCH = {"models", "solvers", "training", "physics", *LINES[LEVEL["codecs"]]}
LABELLED = {"xarray", "dask", "zarr", "h5py", "netCDF4", "h5netcdf", "fsspec", "pandas"}


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute name of all that a module imports, now or on first use."""
    package = module if is_package else module.rpartition(".")[0]

    def absolute(name: str) -> str:
        dots = len(name) - len(name.lstrip("."))
        if not dots:
            return name
        base = package.split(".")[: len(package.split(".")) - dots + 1]
        return ".".join([*base, name.lstrip(".")]).rstrip(".")

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = absolute("." * node.level + (node.module or ""))
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else ""
            name = function.id if isinstance(function, ast.Name) else name
            if name not in ("attach", "import_module", "require", "__import__"):
                continue
            for part in (*node.args, *(keyword.value for keyword in node.keywords)):
                for target in _targets(part):
                    yield target.lineno, absolute(target.value)


def _targets(part: ast.AST) -> Iterator[ast.Constant]:
    """String constants that name a module; the keys of a table are public names."""
    keys = {id(key) for d in ast.walk(part) if isinstance(d, ast.Dict) for key in d.keys}
    for node in ast.walk(part):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in keys:
            yield node


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """``line: rule`` for each import that the house does not allow."""
    unit = module.split(".")[1] if "." in module else ""
    found = []
    for line, name in imported(ast.parse(source), module, is_package):
        parts = name.split(".")
        rule = None
        if parts[0] == "torch" and unit not in TORCH:
            rule = f"torch is imported by {', '.join(sorted(TORCH))} only"
        elif parts[0] in LABELLED and module.endswith("._kernels"):
            rule = f"kernels take plain arrays: no {parts[0]}"
        elif parts[0] == "xphys" and unit:
            rule = _rule(unit, parts[1] if len(parts) > 1 else "", module, parts)
        if rule:
            found.append(f"{line}: {rule} (imports {name})")
    return found


def _rule(unit: str, other: str, module: str, parts: list[str]) -> str | None:
    if other not in LEVEL:
        return f"{other or 'xphys'} is not in the table of levels: import the defining package"
    if unit == other:
        return _inside_io(module, parts) if unit == "io" else None
    if unit == "plotting" and LEVEL[other] > LEVEL_2:
        return "plotting needs levels 0-2 only"
    if LEVEL[other] == LEVEL[unit]:
        return f"{unit} and {other} stand side by side: only a lower level may be imported"
    if LEVEL[other] > LEVEL[unit]:
        return f"{other} is above {unit}: only a lower level may be imported"
    return None


def _inside_io(module: str, parts: list[str]) -> str | None:
    """Readers and writers know nothing of each other; helpers of all begin with ``_``."""
    own = module.split(".")[2:4]
    other = parts[2:4]
    one_of = ("readers", "writers")
    if len(own) < 2 or len(other) < 2 or own[0] not in one_of or other[0] not in one_of:
        return None
    if own == other or other[1].startswith("_"):
        return None
    return "readers and writers never import each other"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_import_goes_down():
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{violation}"
        for path in modules()
        for violation in violations(
            path.read_text(encoding="utf-8"), module_name(path), path.name == "__init__.py"
        )
    ]
    assert not found, "\n" + "\n".join(found)


def test_every_unit_has_a_level():
    units = {module_name(path).split(".")[1] for path in modules() if path.parent != PACKAGE}
    units |= {path.stem for path in modules() if path.parent == PACKAGE} - {"__init__"}
    assert units <= set(LEVEL)


def test_design_shows_the_same_table():
    text = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d \| (.*?)(?: \(.*)? \|$", text, flags=re.MULTILINE)
    shown = [re.findall(r"`(\w+)`", part) for row in rows for part in row.split(";")]
    assert [sorted(line) for line in shown] == [sorted(line) for line in LINES]


@pytest.mark.parametrize(
    ("module", "source", "rule"),
    [
        ("xphys.io._open", "from xphys.codecs import compress", "codecs is above io"),
        ("xphys.io._open", "import xphys.coding", "side by side"),
        ("xphys.schema._axes", "from xphys._dims import lift", "_dims is above schema"),
        ("xphys.errors", "from xphys._lazy import attach", "side by side"),
        ("xphys.fields._api", "from ..spectra import spectra", "side by side"),
        ("xphys.fields._api", "from .. import spectra", "side by side"),
        ("xphys.fields._api", "from xphys import open", "not in the table of levels"),
        ("xphys.fields._api", "import xphys", "not in the table of levels"),
        ("xphys.fields._api", "def f():\n    from xphys import cli", "cli is above fields"),
        ("xphys.fields._api", "import torch.nn as nn", "torch is imported by"),
        ("xphys.fields._api", "importlib.import_module('torch')", "torch is imported by"),
        ("xphys.coding.x", "require('torch', 'gpu')", "torch is imported by"),
        ("xphys.fields._kernels", "import xarray as xr", "no xarray"),
        ("xphys.plotting._field", "from xphys.codecs import compress", "levels 0-2 only"),
        ("xphys.io.readers.gust", "from xphys.io.readers.athenak import f", "never import"),
        ("xphys.io.writers.gust", "from xphys.io.readers.gust import f", "never import"),
        ("xphys.metrics", "attach(__name__, {'compare': 'xphys.cli.compare'})", "cli is above"),
        ("xphys.io", "attach(__name__, {'a': '..codecs._api'})", "codecs is above io"),
    ],
)
def test_the_checker_finds(module, source, rule):
    is_package = module.count(".") == 1 and module != "xphys.errors"
    (found,) = violations(f"\n{source}", module, is_package)
    assert rule in found
    assert int(found.partition(":")[0]) >= 2


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "xphys.codecs._api",
            "import torch\nfrom xphys.coding import bounds\nfrom . import _graph",
        ),
        ("xphys.plotting._field", "from xphys.metrics import compare\nimport matplotlib"),
        ("xphys.io.readers.athenak.backend", "from xphys.io.readers.athenak._parse import f"),
        ("xphys.io.readers.gust", "from xphys.io.readers._hdf5 import f"),
        ("xphys.io._open", "from xphys.io.readers import athenak"),
        ("xphys.accessors.dataset", "from xphys import fields, io"),
        ("xphys.fields", "attach(__name__, {'derive': '._api', 'torch': '._api'})"),
        ("xphys", "attach(__name__, {'simulate': 'xphys.solvers'})"),
    ],
)
def test_the_checker_accepts(module, source):
    assert violations(source, module, is_package=module in ("xphys", "xphys.fields")) == []
