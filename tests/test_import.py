"""What ``import xphys`` loads, and that every public name is there."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import xphys

HEAVY = [
    *("dask", "distributed", "zarr", "numcodecs", "h5py", "h5netcdf", "netCDF4", "scipy", "numba"),
    *("torch", "lightning", "matplotlib", "pydantic", "typer", "yaml"),
]
PACKAGES = sorted(info.name for info in pkgutil.iter_modules(xphys.__path__) if info.ispkg)


def names_of_all_modules() -> list[str]:
    found = pkgutil.walk_packages(xphys.__path__, "xphys.")
    return [info.name for info in found if not info.name.endswith("__main__")]


def run(code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("first", ["", *(f"import xphys.{name}; " for name in PACKAGES)])
def test_importing_names_stays_light(first):
    """Of the whole package and of each sub-package: a fresh interpreter shows what came along."""
    code = f"import xphys, sys; {first}print([n for n in {HEAVY} if n in sys.modules])"
    assert run(code).strip() == "[]"


def test_all_modules_import_and_public_names_stay_what_they_are():
    code = (
        "import importlib, json, xphys\n"
        f"for name in {names_of_all_modules()}: importlib.import_module(name)\n"
        "print(json.dumps({n: type(getattr(xphys, n)).__name__ for n in xphys.__all__}))"
    )
    kinds = json.loads(run(code))
    assert set(kinds) == set(xphys.__all__)
    assert kinds.pop("__version__") == "str"
    assert "module" not in kinds.values(), "a function and a sub-package share a name"
    assert set(kinds.values()) <= {"function", "type"}


@pytest.mark.parametrize("name", ["xphys", *(f"xphys.{name}" for name in PACKAGES)])
def test_public_names_exist(name):
    module = importlib.import_module(name)
    assert module.__doc__
    public = list(module.__all__)
    assert len(public) == len(set(public))
    for member in public:
        assert getattr(module, member) is not None
        assert member in dir(module) or member == "__version__"
    with pytest.raises(AttributeError):
        module.no_such_name  # noqa: B018
