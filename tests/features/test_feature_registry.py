"""The register of features, and the page of the docs that is made from it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from xphys.errors import FormatError, UnknownNameError
from xphys.features import DEFINITION_VERSION, Feature, Registry, registry

COUNTS = {
    "spatial": 19, "spectral": 27, "cross_channel": 10, "temporal": 13, "causality": 14,
    "invariant_drift": 60, "operator_sensitivity": 10,
}  # fmt: skip
FIRST_INDEX = {
    "spatial": 0, "spectral": 19, "temporal": 46, "operator_sensitivity": 59,
    "cross_channel": 69, "causality": 79, "invariant_drift": 93,
}  # fmt: skip
OPTIONAL = [
    "mutual_information", "extensions", "distributional", "structural", "morphological",
    "multiscale", "nonlinear", "initial", "architecture", "physics", "temporal_extensions",
    "spatial_extensions", "harmonics", "conditional_information", "dissipation", "sequences",
]  # fmt: skip


def test_the_153():
    standard = registry().select(standard=True)
    assert [f.number for f in standard] == list(range(1, 154))
    assert sorted(f.index for f in standard) == list(range(153))
    for family, count in COUNTS.items():
        own = registry().select(family=family)
        assert len(own) == count
        assert [f.index for f in own] == list(range(FIRST_INDEX[family],
                                                    FIRST_INDEX[family] + count))  # fmt: skip
    assert sum(f.level == "step" for f in standard) == 56
    names = registry().names()
    assert (names[0], names[55], names[152]) == (
        "spatial_mean", "cross_channel_corr_std", "compression_ratio",
    )  # fmt: skip
    assert registry().families == [*COUNTS, *OPTIONAL]


def test_each_has_a_definition_and_says_where_it_is_undefined():
    for feature in registry().values():
        assert len(feature.definition) > 1
        assert "\n" not in feature.definition + feature.change + feature.undefined
    changed = [f for f in registry().select(standard=True) if f.change]
    # constant, or zero up to rounding, in the original
    broken = [14, 15, 17, 41, 42, 43, 46, 50, 70, 72, 74, 76, 77, 78, 79]
    assert set(broken) <= {f.number for f in changed}


def test_questions():
    found = registry()["spectral_rolloff"]
    assert found == registry().by_number(45) == registry().by_index(44)
    assert found.category == found.family == "spectral"
    assert registry().names(category="temporal") == registry().names(family="temporal")
    assert "spectral_rolloff" in registry()
    assert 17 not in registry()
    assert "269" in repr(registry()) or str(len(registry())) in repr(registry())
    with pytest.raises(UnknownNameError, match="spectral_rolloff"):
        registry()["rolloff"]
    for call in (registry().by_number, registry().by_index):
        with pytest.raises(UnknownNameError, match="10000"):
            call(10000)
    with pytest.raises(UnknownNameError, match="temporal"):
        registry().select(category="time")


def test_json_round_trip():
    text = registry().to_json()
    again = Registry.from_json(text)
    assert again == registry()
    assert hash(again) == hash(registry())
    document = json.loads(text)
    assert document["definition_version"] == DEFINITION_VERSION
    assert document["features"]["spatial"]["spatial_mean"]["index"] == 0


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"xphys_features": 2, "features": {}}',
     '{"xphys_features": 1, "features": {"a": {"b": {"number": 1}}}}',
     '{"xphys_features": 1, "features": {"a": {"b": {"number": "1", "index": 0, "level": "step",'
     ' "definition": ""}}}}',
     '{"xphys_features": 1, "features": {"a": {"b": {"other": 1}}}}',
     '{"xphys_features": 1, "features": 3}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_register(text):
    with pytest.raises(FormatError):
        Registry.from_json(text)


def test_names_numbers_and_indices_are_there_once():
    one = Feature("a", 1, 0, "f", "step", "x")
    for other in (Feature("a", 2, 1, "f", "step", "x"), Feature("b", 1, 1, "f", "step", "x"),
                  Feature("b", 2, 0, "f", "step", "x")):  # fmt: skip
        with pytest.raises(FormatError, match="once"):
            Registry([one, other])


def test_the_page_shows_the_register(table):
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), (
        "docs/features.md is old: run python tests/features/table.py"
    )


def test_import_stays_light():
    code = (
        "import sys, xphys.features; heavy = {'dask', 'scipy', 'numba', 'zarr', 'torch'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
