"""``the_well://DATASET/SPLIT``: the layout of the hub on the loop-back, mirrors, wrong names."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

import xphys
from xphys._storage import find
from xphys._storage._hub import hub_address, hub_url
from xphys._storage._remote import remote
from xphys.cli import app
from xphys.errors import FormatError, UnknownNameError
from xphys.schema import provenance

pytest.importorskip("aiohttp")

NAME = "turbulent_radiative_layer_2D"
SPLITS = {"train": "several", "valid": "box_3d.hdf5", "test": "rayleigh_benard_cut.hdf5"}


@pytest.fixture(scope="module")
def folder(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OWNER/NAME as the project lays its repositories out."""
    root = tmp_path_factory.mktemp("hub")
    place = root / "polymathic-ai" / NAME
    for split, made in SPLITS.items():
        source, target = small_data / "the_well" / made, place / "data" / split
        target.mkdir(parents=True)
        for path in sorted(source.rglob("*.hdf5")) if source.is_dir() else [source]:
            shutil.copy(path, target / path.name)
    (place / "data" / "valid" / "notes.txt").write_text("not a file of the data set")
    (place / "README.md").write_text("card")
    return root


@pytest.fixture(scope="module")
def hub(server: Callable[..., Any], folder: Path) -> Any:
    return server("hub", str(folder))


@pytest.fixture
def options(hub: Any) -> dict[str, Any]:
    return {"endpoint": hub.endpoint, "retry": {"first": 0.001, "longest": 0.01}}


def asked(hub: Any) -> list[str]:
    with urllib.request.urlopen(f"{hub.endpoint}/_asked", timeout=30) as answer:
        return list(json.load(answer))


@pytest.mark.parametrize("split", list(SPLITS))
def test_equals_the_local_files(options, folder, split):
    found = xphys.open(f"the_well://{NAME}/{split}", storage_options=options)
    local = xphys.open(folder / "polymathic-ai" / NAME / "data" / split, engine="the_well")
    assert all(v.chunks for v in found.data_vars.values())
    xr.testing.assert_identical(found.load().drop_attrs(), local.load().drop_attrs())
    assert {n: v.attrs for n, v in found.variables.items()} == {
        n: v.attrs for n, v in local.variables.items()
    }
    source = provenance(found)[0]["source"]
    assert f"hf://datasets/polymathic-ai/{NAME}/data/{split}/" in str(source)
    assert "etag" in source
    assert found.encoding["source"] == f"the_well://{NAME}/{split}"


def test_lists_once_and_reads_chunks_only(options, hub):
    before = len(asked(hub))
    ds = xphys.open(f"the_well://{NAME}/test", storage_options=options)
    opening = asked(hub)[before:]
    assert sum("/tree/" in line for line in opening) == 1
    assert len([line for line in opening if "/stored/" in line]) <= 8
    again = xphys.open(f"the_well://{NAME}/test", storage_options=options)
    name = next(iter(ds.data_vars))
    assert ds[name].data.name == again[name].data.name


def test_is_an_engine_and_takes_a_split(options, folder):
    url = f"the_well://{NAME}"
    found = xr.open_dataset(url, engine="the_well", split="valid", storage_options=options)
    local = xr.open_dataset(
        folder / "polymathic-ai" / NAME / "data" / "valid" / "box_3d.hdf5", engine="the_well"
    )
    xr.testing.assert_equal(found.load(), local.load())


def test_another_place_of_the_data_sets(folder, options, hub):
    base = folder / "polymathic-ai"
    local = xphys.open(f"the_well://{NAME}/valid", base=str(base))
    assert local.load().notnull().all()
    mirror = xphys.open(
        f"the_well://{NAME}/valid",
        base="hf://datasets/polymathic-ai",
        storage_options=options,
    )
    assert np.array_equal(mirror["time"], local["time"])


def test_by_child_processes(options):
    url = f"the_well://{NAME}/valid"
    found = xphys.open(url, storage_options=options, untrusted=True)
    wanted = xphys.open(url, storage_options=options)
    xr.testing.assert_equal(found.load(), wanted.load())


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("the_well://", FormatError, "expected the_well://DATASET/SPLIT"),
        (f"the_well://{NAME}/train/more", FormatError, "expected the_well://DATASET/SPLIT"),
        ("the_well://../train", FormatError, "expected the_well://DATASET/SPLIT"),
        (f"the_well://{NAME}", FormatError, f"name the split too, such as the_well://{NAME}/train"),
        (f"the_well://{NAME}/training", UnknownNameError, "expected a split out of .*'training'"),
        ("the_well://turbulent_layer/train", UnknownNameError, f"such as .*{NAME}"),
        ("the_well://nothing/train", UnknownNameError, r"refuses to list .*\(401\); .*shear_flow"),
        ("the_well://shear_flow/train", UnknownNameError, "not every data set is on the hub"),
    ],
)
def test_wrong_names(options, url, error, said):
    with pytest.raises(error, match=said) as caught:
        xphys.open(url, storage_options=options)
    assert "\n" not in str(caught.value)


def test_a_split_that_is_not_there(folder, tmp_path):
    (tmp_path / NAME / "data" / "train").mkdir(parents=True)
    with pytest.raises(UnknownNameError, match=r"nothing was found in .*data/train"):
        xphys.open(f"the_well://{NAME}/train", base=str(tmp_path))


def test_lists_of_the_hub(hub, options, folder):
    place = f"hf://datasets/polymathic-ai/{NAME}"
    files = sorted(
        path.relative_to(folder / "polymathic-ai" / NAME).as_posix()
        for path in folder.rglob("*.hdf5")
    )
    assert find(f"{place}/data/*/*.hdf5", options) == [f"{place}/{name}" for name in files]
    assert find(f"{place}/READ*", options) == [f"{place}/README.md"]
    assert find(f"{place}/nothing/*", options) == []
    system, path = remote(f"{place}/data", options)
    assert {one["type"] for one in system.ls(path)} == {"directory"}
    before = len(asked(hub))
    find(f"{place}/data/train/*.hdf5", {**options, "token": "secret"})
    assert all(line.endswith("Bearer secret") for line in asked(hub)[before:])


@pytest.mark.parametrize(
    "url",
    [
        "hf://datasets/a/b/c/d.h5",
        "hf://datasets/a/b@refs/convert/x/c",
        "hf://a/b@v1.0/c",
        "hf://spaces/a/b/c",
    ],
)
def test_addresses_of_the_hub_and_back(url):
    assert hub_url(hub_address(url, "https://example.org/hub/")) == url
    assert hub_url("https://example.org/other") == "https://example.org/other"


def test_commands_take_public_names(hub, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    target = tmp_path / "copy.zarr"
    done = CliRunner().invoke(app, ["convert", f"the_well://{NAME}/valid", str(target)])
    assert done.exit_code == 0, done.output
    local = xphys.open(folder / "polymathic-ai" / NAME / "data" / "valid" / "box_3d.hdf5")
    xr.testing.assert_equal(xphys.open(target).load(), local.load())
    wrong = CliRunner().invoke(app, ["info", f"the_well://{NAME}/all"])
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("xphys: the_well://")
