"""Literal formulas and the trajectories of 64 operators, shared by the tests of features."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import xarray as xr

from xphys.features import features


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def literal() -> ModuleType:
    return load("literal")


@pytest.fixture(scope="session")
def literal_families() -> ModuleType:
    return load("literal_families")


@pytest.fixture(scope="session")
def table() -> ModuleType:
    return load("table")


@pytest.fixture(scope="session")
def trajectories() -> xr.Dataset:
    """(operator: 64, realization: 2, time: 18, y: 16, x: 16), three channels."""
    return load("operators").dataset()


@pytest.fixture(scope="session")
def described(trajectories: xr.Dataset) -> dict[str, xr.DataArray]:
    levels = ("step", "trajectory", "aggregated")
    return {level: features(trajectories, level=level) for level in levels}
