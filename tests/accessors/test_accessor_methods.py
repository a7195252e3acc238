"""Every method of `.phys` is its function: signature, docstring, result."""

from __future__ import annotations

import importlib
import inspect
import pickle
import subprocess
import sys

import dask
import numpy as np
import pytest
import xarray as xr

from xphys import codecs, fields, io, metrics, schema, spectra
from xphys.accessors import DataArrayAccessor, DatasetAccessor, DataTreeAccessor
from xphys.accessors._documented import _Documented, without_first_parameter
from xphys.errors import SchemaError

ACCESSORS = (DatasetAccessor, DataArrayAccessor, DataTreeAccessor)
# Parameters of the function that one kind of object cannot have a use for, and `stored`, which
# the accessor fills in.
ABSENT = {
    (DatasetAccessor, "compare"): {"stored"},
    (DataArrayAccessor, "compare"): {"stored"},
    (DataTreeAccessor, "compare"): {"stored", "rate_distortion"},
    (DataArrayAccessor, "compress"): {"variables"},
    (DataArrayAccessor, "spectra"): {"variables"},
    (DataArrayAccessor, "moments"): {"variables"},
    (DataArrayAccessor, "pdf"): {"variables"},
    (DataArrayAccessor, "structure_functions"): {"variables"},
    (DataArrayAccessor, "autocorrelation"): {"variables"},
    (DataArrayAccessor, "correlation_lengths"): {"variables"},
    (DataArrayAccessor, "distances"): {"variables"},
    (DataArrayAccessor, "ensemble_scores"): {"variables"},
}


def methods(owner: type) -> dict[str, _Documented]:
    members = {n: m for base in reversed(owner.__mro__) for n, m in vars(base).items()}
    return {name: m for name, m in members.items() if isinstance(m, _Documented)}


CASES = [(owner, name) for owner in ACCESSORS for name in methods(owner)]


def axis(name: str, size: int) -> xr.Variable:
    attrs = {"period": 1.0, "boundary": "periodic", "units": "1"}
    return xr.Variable(name, (np.arange(size) + 0.5) / size, attrs)


@pytest.fixture
def ds() -> xr.Dataset:
    rng = np.random.default_rng(0)
    ds = xr.Dataset(coords={"x": axis("x", 16), "y": axis("y", 8), "time": [0.0, 1.0], "nu": 0.1})
    for component in "xy":
        attrs = {"vector": "velocity", "component": component, "units": "m/s"}
        values = rng.normal(size=(2, 8, 16)).astype(np.float32)
        ds[f"velocity_{component}"] = (("time", "y", "x"), values, attrs)
    return ds.chunk(time=1)


@pytest.fixture
def tree(ds: xr.Dataset) -> xr.DataTree:
    nodes = {"/": xr.Dataset(attrs={"run": "a"}), "/level_0": ds, "/level_1": ds.isel(time=[0])}
    return xr.DataTree.from_dict(nodes, name="levels")


@pytest.mark.parametrize(("owner", "name"), CASES, ids=lambda v: getattr(v, "__name__", v))
def test_signature_is_that_of_the_function(owner: type, name: str) -> None:
    module, _, function = methods(owner)[name].target.partition(":")
    target = getattr(importlib.import_module(module), function)
    expected = list(inspect.signature(target).parameters.values())[1:]
    absent = ABSENT.get((owner, name), set())
    found = list(inspect.signature(getattr(owner, name)).parameters.values())[1:]
    if name == "compare":  # (test, reference): the accessor holds the first
        assert found[0].name == "reference"
    assert absent <= {p.name for p in expected}
    assert [(p.name, p.kind, p.default) for p in found] == [
        (p.name, p.kind, p.default) for p in expected if p.name not in absent
    ]


@pytest.mark.parametrize(("owner", "name"), CASES, ids=lambda v: getattr(v, "__name__", v))
def test_docstring_is_that_of_the_function(owner: type, name: str) -> None:
    module, _, function = methods(owner)[name].target.partition(":")
    target = inspect.getdoc(getattr(importlib.import_module(module), function))
    doc = inspect.getdoc(getattr(owner, name))
    assert target is not None
    assert doc is not None
    assert doc.partition("\n")[0] == target.partition("\n")[0]
    assert "Returns" in doc or "Returns" not in target
    assert "\n    Parameters" not in doc
    assert methods(owner)[name].summary.endswith(".")


def test_first_parameter_is_cut_from_docstrings() -> None:
    doc = """Sum.

    Parameters
    ----------
    ds : Dataset
        Any.

        More.
    dims : str
        Axes.

    Returns
    -------
    int
    """
    expected = "Sum.\n\nParameters\n----------\ndims : str\n    Axes.\n\nReturns\n-------\nint"
    assert without_first_parameter(doc) == expected
    alone = "Sum.\n\nParameters\n----------\nds : Dataset\n    Any.\n\nReturns\n-------\nint"
    assert without_first_parameter(alone) == "Sum.\n\nReturns\n-------\nint"
    joined = "Sum.\n\nParameters\n----------\ntest, other : Dataset\n    Any.\n"
    assert without_first_parameter(joined) == joined.replace("test, ", "").strip()
    assert without_first_parameter("Sum.") == "Sum."


def test_import_stays_light_and_registers() -> None:
    code = (
        "import sys, xarray as xr, xphys; heavy = {'dask', 'zarr', 'scipy', 'torch', 'matplotlib',"
        "'numba', 'typer', 'rich', 'distributed'}; print(sorted(heavy & set(sys.modules)));"
        "ds = xr.Dataset({'u': ('x', [1.0])}); ds.phys; ds.u.phys; xr.DataTree(ds).phys"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_dataset_results(ds: xr.Dataset) -> None:
    assert ds.phys.validate() == schema.validate(ds)
    old = ds.rename(x="x1")
    xr.testing.assert_identical(old.phys.normalize(), schema.normalize(old))
    renamed = ds.phys.normalize(rename={"velocity_x": "u"})
    xr.testing.assert_identical(renamed, schema.normalize(ds, rename={"velocity_x": "u"}))
    compressed = ds.phys.compress(vrmse=0.1, chunks={"time": 1})
    expected = codecs.compress(ds, vrmse=0.1, chunks={"time": 1})
    xr.testing.assert_identical(compressed, expected)
    xr.testing.assert_identical(
        compressed.phys.compare(ds),
        metrics.compare(expected, ds, stored=io.stored_bytes(expected)),
    )
    assert "ratio" in compressed.phys.compare(ds)
    assert "ratio" not in ds.phys.compare(ds)
    xr.testing.assert_identical(ds.phys.spectra("velocity_x"), spectra.spectra(ds, "velocity_x"))
    xr.testing.assert_identical(ds.phys.derive("divergence"), fields.derive(ds, "divergence"))
    assert compressed.phys.provenance == schema.provenance(expected)


@pytest.mark.parametrize("name", ["velocity_x", None, "x"])
def test_dataarray_results(ds: xr.Dataset, name: str | None) -> None:
    array = ds.velocity_x.rename(name)
    plain = ds[["velocity_x"]]
    assert [f.code for f in array.phys.validate()] == [f.code for f in schema.validate(plain)]
    compressed = array.phys.compress(vrmse=0.1)
    expected = codecs.compress(plain, vrmse=0.1)
    assert compressed.name == name
    xr.testing.assert_equal(compressed.rename(None), expected.velocity_x.rename(None))
    assert compressed.phys.provenance == schema.provenance(expected)
    again = compressed.phys.compress(vrmse=0.2).phys.provenance
    assert [step["parameters"]["vrmse"] for step in again] == [0.1, 0.2]
    xr.testing.assert_identical(array.phys.spectra(dims="x"), spectra.spectra(array, dims="x"))
    if name == "x":  # a DataArray named like its own coordinate cannot become a Dataset
        return
    result = compressed.phys.compare(array)
    xr.testing.assert_equal(result.vrmse, metrics.compare(compressed, array).vrmse)
    assert float(result.ratio[0]) > 1


def test_dataarray_is_normalized(ds: xr.Dataset) -> None:
    array = ds.velocity_x.rename(x="x1").transpose("x1", "y", "time")
    assert array.phys.normalize().dims == ("time", "y", "x")
    assert array.phys.normalize().name == "velocity_x"
    assert array.phys.normalize(rename={"velocity_x": "u"}).name == "u"


def test_tree_results(ds: xr.Dataset, tree: xr.DataTree) -> None:
    nodes = {"level_0": ds, "level_1": ds.isel(time=[0])}
    assert tree.phys.validate() == {path: schema.validate(node) for path, node in nodes.items()}
    cases = {
        "normalize": (tree.phys.normalize(), schema.normalize),
        "derive": (tree.phys.derive("divergence"), lambda d: fields.derive(d, "divergence")),
        "spectra": (tree.phys.spectra(dims="x"), lambda d: spectra.spectra(d, dims="x")),
        "compress": (tree.phys.compress(vrmse=0.1), lambda d: codecs.compress(d, vrmse=0.1)),
    }
    for result, function in cases.values():
        assert result.name == "levels"
        assert result.attrs == {"run": "a"}
        for path, node in nodes.items():
            xr.testing.assert_identical(result[path].to_dataset(), function(node))
    compressed = cases["compress"][0]
    result = compressed.phys.compare(tree)
    for path, node in nodes.items():
        expected = metrics.compare(codecs.compress(node, vrmse=0.1), node)
        xr.testing.assert_equal(result[path].vrmse, expected.vrmse)
    assert set(compressed.phys.provenance) == set(nodes)


def test_tree_with_inherited_coordinates(ds: xr.Dataset) -> None:
    parent = xr.Dataset(coords={name: ds[name] for name in ("x", "y")})
    child = ds.drop_vars(["x", "y"])
    tree = xr.DataTree.from_dict({"/": parent, "/a": child, "/b": child})
    for result in (tree.phys.derive("divergence"), tree.phys.spectra()):
        assert set(result.children) == {"a", "b"}
    xr.testing.assert_equal(
        tree.phys.spectra()["a"].to_dataset(), spectra.spectra(ds.assign_coords(nu=ds.nu))
    )


def test_tree_compare_names_a_missing_node(tree: xr.DataTree) -> None:
    other = xr.DataTree.from_dict({"/level_0": tree["level_0"].to_dataset()})
    with pytest.raises(SchemaError, match="'level_1'"):
        tree.phys.compare(other)


def test_writing(ds: xr.Dataset, tree: xr.DataTree, tmp_path) -> None:
    assert ds.phys.to_zarr(tmp_path / "ds.zarr") is None
    xr.testing.assert_equal(xr.open_zarr(tmp_path / "ds.zarr"), ds)
    with pytest.raises(FileExistsError):
        ds.phys.to_zarr(tmp_path / "ds.zarr")
    compressed = ds.velocity_x.phys.compress(max_abs=0.1)
    compressed.phys.to_zarr(tmp_path / "array.zarr")
    array = xr.open_dataarray(tmp_path / "array.zarr", engine="zarr")
    xr.testing.assert_equal(array, compressed)
    ds.velocity_x.rename(None).phys.to_zarr(tmp_path / "unnamed.zarr")
    assert xr.open_dataarray(tmp_path / "unnamed.zarr", engine="zarr").name is None
    for mode in ("w-", "w"):
        tree.phys.to_zarr(tmp_path / "tree.zarr", mode=mode)
        with xr.open_datatree(tmp_path / "tree.zarr", engine="zarr") as opened:
            assert set(opened.children) == {"level_0", "level_1"}
            assert opened.attrs["run"] == "a"
            xr.testing.assert_equal(opened["level_1"].to_dataset(), ds.isel(time=[0]))
    with pytest.raises(FileExistsError):
        tree.phys.to_zarr(tmp_path / "tree.zarr")


def test_nothing_computes_while_building(ds: xr.Dataset, tree: xr.DataTree) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("computed while a graph was built")

    with dask.config.set(scheduler=refuse):
        for obj in (ds, ds.velocity_x, tree):
            obj.phys.validate()
            obj.phys.normalize()
            obj.phys.compress(vrmse=0.1)
            obj.phys.compare(obj)
            obj.phys.spectra()
        ds.phys.derive("divergence")


def test_objects_with_a_cached_accessor_pickle(ds: xr.Dataset) -> None:
    ds.phys.validate()
    xr.testing.assert_identical(pickle.loads(pickle.dumps(ds)), ds)
