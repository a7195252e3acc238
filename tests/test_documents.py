"""The table of coverage in docs/ tells the truth about the tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| ([SLGM]\d+) \| (.+?) \| (\d\d) \| (\w+) \| (.*?) ?\|$", flags=re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "coverage.md").read_text(encoding="utf-8"))


def test_every_row_is_there_once():
    codes = [code for code, *_ in ROWS]
    counts = {"S": 9, "L": 21, "G": 13, "M": 12}
    assert codes == [f"{letter}{n}" for letter, top in counts.items() for n in range(1, top + 1)]
    assert len(codes) == 55


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_row_is_planned_or_has_a_test(row):
    _, _, milestone, state, test = row
    assert 1 <= int(milestone) <= 15
    assert state in ("planned", "done")
    if state == "planned":
        assert test == ""
        return
    for place in re.findall(r"[^`,\s]+", test) or [""]:
        path, _, function = place.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert function in names, f"{place} does not exist"
        assert function.startswith("test_")
