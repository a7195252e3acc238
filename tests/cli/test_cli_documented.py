"""Every command and every public name of xphys.io is in the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from xphys import io
from xphys.cli import app

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def text() -> str:
    return "\n".join(path.read_text() for path in sorted(DOCS.glob("*.md")))


def test_names_of_io(text: str) -> None:
    assert [name for name in io.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_commands(text: str) -> None:
    assert [name for name in get_command(app).commands if f"xphys {name}" not in text] == []


def test_options_of_convert() -> None:
    text = (DOCS / "convert.md").read_text()
    options = [o for p in get_command(app).commands["convert"].params for o in p.opts if "--" in o]
    left_out = {"--shards", "--chunks", "--resume", "--threads", "--cluster"}
    assert [o for o in options if o not in text and o not in left_out] == []
