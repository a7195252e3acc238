"""Fixtures and flags shared by the suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    for flag in ("slow", "network", "gpu"):
        parser.addoption(f"--{flag}", action="store_true", help=f"run tests marked {flag}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for flag in ("slow", "network", "gpu"):
        if config.getoption(f"--{flag}"):
            continue
        skip = pytest.mark.skip(reason=f"needs --{flag}")
        for item in items:
            if flag in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def simulation_data() -> Path:
    """The large folder of real simulation output, when this machine has it."""
    default = HERE.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("XPHYS_TEST_DATA", default))
    if not (folder / "MANIFEST.md").exists():
        pytest.skip("no folder of simulation output: set XPHYS_TEST_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def small_data() -> Path:
    """The few real files that travel with the repository (origin in tests/data/README.md)."""
    return HERE / "data"
