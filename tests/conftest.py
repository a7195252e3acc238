"""Fixtures and flags shared by the suite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


# What opening many files remembers must not come from, or go to, the user's own cache.
os.environ["XPHYS_CACHE"] = "off"


def pytest_addoption(parser: pytest.Parser) -> None:
    for flag in ("slow", "network", "gpu", "servers"):
        parser.addoption(f"--{flag}", action="store_true", help=f"run tests marked {flag}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for flag in ("slow", "network", "gpu", "servers"):
        if config.getoption(f"--{flag}"):
            continue
        skip = pytest.mark.skip(reason=f"needs --{flag}")
        for item in items:
            if flag in item.keywords:
                item.add_marker(skip)


class Server:
    """A script of tests/servers in a process of its own; ``facts`` is what it says of itself."""

    def __init__(self, name: str, *args: str) -> None:
        command = [sys.executable, str(HERE / "servers" / f"{name}.py"), *args]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{' '.join(command)} did not start"
        self.facts = json.loads(line)

    @property
    def endpoint(self) -> str:
        """``http://HOST:PORT``."""
        return str(self.facts["endpoint"])

    def faults(self, **wanted: Any) -> dict[str, Any]:
        """What a proxy has counted; with arguments, what it is to spoil from now on."""
        data = json.dumps(wanted).encode() if wanted else None
        with urllib.request.urlopen(f"{self.endpoint}/_faults", data, timeout=30) as answer:
            return dict(json.load(answer))

    def stop(self) -> None:
        """Its standard input ends, then it stops by itself."""
        self.process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[Callable[..., Server]]:
    """Start scripts of tests/servers by name; they stop at the end of the module."""
    running: list[Server] = []

    def start(name: str, *args: str) -> Server:
        running.append(Server(name, *args))
        return running[-1]

    yield start
    for one in reversed(running):
        one.stop()


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
