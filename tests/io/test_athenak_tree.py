"""Refinement levels of AthenaK runs as a tree, held against the bytes of the files."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import xphys
from xphys.errors import SchemaError
from xphys.io.readers.athenak import _format, open_athenak
from xphys.schema import axis, provenance, validate

AXES = ("z", "y", "x")


def stored_blocks(path: Path) -> Iterator[tuple[int, tuple[int, ...], np.ndarray]]:
    """Level, place (lx3, lx2, lx1) and values (variable, k, j, i) of every block of a file."""
    raw = path.read_bytes()
    head = raw[:2000].decode(errors="replace")
    number, location = (
        int(re.search(rf"{what}=(\d+)", head)[1])
        for what in ("number of variables", "size of location")
    )
    at = raw.index(b"<par_end>\n") + len(b"<par_end>\n")
    while at < len(raw):
        i0, i1, j0, j1, k0, k1, x1, x2, x3, level = struct.unpack_from("<10i", raw, at)
        shape = (number, k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
        at += 40 + 6 * location
        values = np.frombuffer(raw, "<f4", int(np.prod(shape)), at).reshape(shape)
        at += values.nbytes
        yield level, (x3, x2, x1), values


def lower_bound(tree: xr.DataTree, dim: str) -> float:
    deck = tree.attrs["athenak_deck"]
    return float(re.search(rf'"x{3 - AXES.index(dim)}min":"([^"]+)"', deck)[1])


def origin(tree: xr.DataTree, node: xr.DataTree) -> dict[str, int]:
    """First cell of a node along each axis, counted at its level."""
    first = {}
    for dim in AXES:
        if dim in node.dims:
            x = node[dim].values
            first[dim] = round((x[0] - lower_bound(tree, dim)) / (x[1] - x[0]) - 0.5)
    return first


def file_of(path: Path, group: str, number: int) -> Path:
    (file,) = path.glob(f"*.{group}.{number:05d}.bin")
    return file


RUNS = [
    ("small", "orszag_tang_smr", 2, {0: 3072, 1: 3072, 2: 4096}),
    ("large", "linear_wave_3d_smr", 0, None),
    ("small", "linear_wave_3d_slice", 1, None),
]


@pytest.fixture(params=RUNS, ids=lambda run: run[1])
def run(request):
    where, name, number, cells = request.param
    fixture = "small_data" if where == "small" else "simulation_data"
    return request.getfixturevalue(fixture) / "athenak" / name, number, cells


def test_every_stored_cell_is_in_one_node_once(run):
    path, number, cells = run
    tree = xphys.open(path, levels="tree", chunks=None).load()
    seen = {}
    for name, node in tree.children.items():
        assert name == f"level_{node['level'].item()}"
        assert node["covered"].dtype == bool
        seen[name] = {v: np.zeros(node["covered"].shape, int) for v in node.data_vars}
    for step, time in enumerate(tree["time"].values):
        _compare(tree, path, number + step, float(time), seen)
    steps = tree.sizes["time"]
    for name, counts in seen.items():
        covered = tree[name]["covered"].values
        for variable, count in counts.items():
            np.testing.assert_array_equal(count, covered * steps)
            holes = tree[name][variable].values[:, ~covered]
            assert np.isnan(holes).all()
    if cells:
        assert {n: int(node["covered"].sum()) for n, node in tree.children.items()} == {
            f"level_{level}": n for level, n in cells.items()
        }


def _compare(tree, path, number, time, seen):
    groups = {v.attrs["source_group"] for node in tree.children.values() for v in node.values()}
    for group in groups:
        for level, place, values in stored_blocks(file_of(path, group, number)):
            name = f"level_{level}"
            node = tree[name].sel(time=time)
            first = origin(tree, node)
            cut = {
                dim: slice(p * n - first[dim], (p + 1) * n - first[dim])
                for dim, p, n in zip(AXES, place, values.shape[1:], strict=True)
                if dim in node.dims
            }
            ours = [v for v in node.data_vars if node[v].attrs["source_group"] == group]
            assert len(ours) == len(values)
            for variable, block in zip(ours, values, strict=True):
                found = node[variable].isel(cut).values
                assert found.tobytes() == block.tobytes()
                seen[name][variable][tuple(cut.values())] += 1


def on_common_grid(tree: xr.DataTree, variable: str, like: xr.Dataset) -> np.ndarray:
    """The nodes put together on the finest grid, coarser cells repeated."""
    finest = max(int(name.removeprefix("level_")) for name in tree.children)
    field = like[variable]
    out = np.full(field.shape, np.nan, field.dtype)
    for name, node in tree.children.items():
        factor = 2 ** (finest - int(name.removeprefix("level_")))
        values = node[variable].values
        where = [slice(None)]
        for number, (dim, first) in enumerate(origin(tree, node).items(), 1):
            values = values.repeat(factor, axis=number)
            where.append(slice(first * factor, first * factor + node.sizes[dim] * factor))
        part = out[tuple(where)]
        assert np.isnan(part[~np.isnan(values)]).all()
        part[~np.isnan(values)] = values[~np.isnan(values)]
    return out


def test_repeating_the_tree_gives_the_common_grid(run):
    path, _, _ = run
    tree, common = xphys.open(path, levels="tree"), xphys.open(path)
    names = list(common.data_vars)
    assert all(list(node.data_vars) == names for node in tree.children.values())
    for variable in (names[0], names[-1]):
        np.testing.assert_array_equal(on_common_grid(tree, variable, common), common[variable])


def test_averaging_the_tree_gives_the_coarse_grid(small_data):
    path = small_data / "athenak" / "orszag_tang_smr"
    tree, coarse = xphys.open(path, levels="tree"), open_athenak(path, level=0)["density"]
    fine = on_common_grid(tree, "density", xphys.open(path)).astype(np.float64)
    mean = fine.reshape(1, 64, 4, 64, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse, mean, rtol=2e-7)


def test_attributes_of_root_and_nodes(small_data):
    path = small_data / "athenak" / "orszag_tang_smr"
    tree, common = xphys.open(path, levels="tree"), xphys.open(path)
    assert list(tree.children) == ["level_0", "level_1", "level_2"]
    assert not tree.data_vars
    assert tree["time"].values.tolist() == [0.2]
    assert tree["gamma"].item() == common["gamma"].item() == tree["level_1"]["gamma"].item()
    assert tree.attrs["athenak_deck"] == common.attrs["athenak_deck"]
    for node in (tree, *tree.children.values()):
        (step,) = provenance(node.to_dataset())
        assert step["parameters"]["levels"] == "tree"
        assert step["source"]["files"] == 3
        assert node.encoding["source"] == str(path)
    whole, patch = tree["level_0"].to_dataset(), tree["level_1"].to_dataset()
    assert axis(whole, "x").periodic
    assert whole["x"].attrs["period"] == 1.0
    assert patch["x"].attrs["boundary"] == "open"
    assert "period" not in patch["x"].attrs
    assert patch["x"].attrs["spacing"] == "uniform"
    np.testing.assert_array_equal(patch["x"], -0.25 + (np.arange(64) + 0.5) / 128)
    assert validate(patch) == validate(common)
    assert "NaN" in patch["covered"].attrs["comment"]
    # the middle of a coarser level belongs to the finer one
    assert not patch["covered"].sel(x=0, y=0, method="nearest").values
    assert tree["level_2"]["covered"].values.all()


def test_a_patch_that_spans_an_axis_stays_periodic(simulation_data):
    tree = xphys.open(simulation_data / "athenak" / "linear_wave_3d_smr", levels="tree")
    node = tree["level_1"].to_dataset()
    assert [axis(node, dim).periodic for dim in AXES] == [True, True, False]
    assert node["x"].attrs["boundary"] == "open"
    assert tree.attrs["athenak_other_groups"] == "mhd_w"


def test_slices_are_at_the_cells_of_their_level(small_data):
    tree = xphys.open(small_data / "athenak" / "linear_wave_3d_slice", levels="tree")
    assert tree["level_0"]["z"].item() == 0.75 + 1.5 / 16 / 2
    assert tree["level_1"]["z"].item() == 0.75 + 1.5 / 32 / 2


def test_a_run_without_refinement_has_one_level():
    path = Path(xphys.__file__).parent / "data" / "mri_64"
    tree = xphys.open(path, tree=True)
    assert list(tree.children) == ["level_0"]
    node, common = tree["level_0"].to_dataset(), xphys.open(path)
    xr.testing.assert_identical(
        node.drop_vars(["level", "covered"]).drop_attrs(deep=False),
        common.drop_attrs(deep=False),
    )
    assert node["covered"].values.all()


def test_as_an_xarray_engine(small_data):
    path = small_data / "athenak" / "orszag_tang_smr"
    ours = xphys.open(path, levels="tree", chunks=None)
    tree = xr.open_datatree(path, engine="athenak")
    xr.testing.assert_identical(tree, ours)
    groups = xr.open_groups(path, engine="athenak", drop_variables="jz")
    assert sorted(groups) == ["/", "/level_0", "/level_1", "/level_2"]
    assert "jz" not in groups["/level_1"]
    assert groups["/level_1"]["time"].values.tolist() == [0.2]
    file = path / "OrszagTang.mhd_w.00002.bin"
    assert set(xr.open_datatree(file)["level_0"].data_vars) < set(tree["level_0"].data_vars)
    lazy = xr.open_datatree(path, engine="athenak", chunks={})
    assert lazy["level_1"]["density"].chunks == ((1,), (64,), (64,))
    table = xr.open_datatree(small_data / "athenak" / "history" / "HB3.mhd.hst", engine="athenak")
    assert table.sizes["time"] == 98


def test_nothing_is_read_before_it_is_needed(small_data, monkeypatch):
    reads = []
    original = _format.read_ranges

    def counting(path, ranges, storage_options=None):
        ranges = list(ranges)
        reads.extend((path, count) for _, count in ranges)
        return original(path, ranges, storage_options)

    monkeypatch.setattr(_format, "read_ranges", counting)
    tree = xphys.open(small_data / "athenak" / "orszag_tang_smr", levels="tree")
    assert {count for _, count in reads} == {16384, 40}  # headers and block tables
    reads.clear()
    with dask.config.set(scheduler=lambda *_, **__: pytest.fail("computed")):
        corner = tree["level_1"]["density"].isel(y=slice(0, 8), x=slice(0, 8))
    assert reads == []
    assert corner.shape == (1, 8, 8)
    assert np.isfinite(corner.values).all()
    fields = [r for r in reads if r[1] != 40]
    assert {Path(path).name for path, _ in fields} == {"OrszagTang.mhd_w.00002.bin"}
    lazy = xphys.open(small_data / "athenak" / "orszag_tang_smr", levels="tree", chunks=None)
    reads.clear()
    # two cells of one block: one read
    assert lazy["level_1"]["density"].isel(time=0, y=0, x=slice(0, 2)).shape == (2,)
    lazy["level_1"]["density"].isel(time=0, y=0, x=slice(0, 2)).load()
    assert [count for _, count in reads if count != 40] == [8]


def test_invalid_levels(small_data):
    path = small_data / "athenak" / "orszag_tang_smr"
    with pytest.raises(SchemaError, match="'common' or 'tree'"):
        xphys.open(path, levels="both")
    with pytest.raises(SchemaError, match="levels='tree' keeps them all"):
        xphys.open(path, levels="tree", level=1)
    xr.testing.assert_identical(xphys.open(path, levels="common"), xphys.open(path))
