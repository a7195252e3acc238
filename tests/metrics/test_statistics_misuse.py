"""Each row of the table of misuse: one clear line, or the policy; never a wrong number."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import pytest
import xarray as xr

_SPEC = importlib.util.spec_from_file_location(
    "statistics_misuse", Path(__file__).parent / "statistics_misuse.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
table = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(table)


def test_the_table_is_long_and_every_row_is_named_once():
    names = [row[0] for row in table.ROWS]
    assert len(names) == len(set(names))
    assert len(names) >= 130


@pytest.mark.parametrize("row", table.ROWS, ids=lambda row: row[0])
def test_misuse(row):
    _, change, call, outcome = row
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = change(table.good())
        if isinstance(outcome, tuple):
            kind, word = outcome
            with pytest.raises(kind) as caught:
                call(given)
            message = str(caught.value)
            assert word in message
            assert "\n" not in message
            assert len(message) < 500
        else:
            found = call(given)
            assert outcome(found.compute() if isinstance(found, xr.Dataset) else found)
