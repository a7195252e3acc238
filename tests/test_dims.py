"""Dims, whole chunks and lift."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xphys._dims import (
    fold_blocks,
    lift,
    real_variables,
    reduce_blocks,
    resolve_dims,
    stack,
    whole,
)
from xphys.errors import SchemaError, UnknownNameError


def refuse(*args, **kwargs):
    raise AssertionError("the graph was computed")


@pytest.fixture
def field() -> xr.DataArray:
    x = xr.Variable("x", np.arange(6) / 6, {"period": 1.0, "units": "m"})
    data = np.random.default_rng(0).normal(size=(8, 4, 6))
    return xr.DataArray(
        data, {"x": x, "Re": 10.0}, ("time", "y", "x"), name="density", attrs={"units": "kg"}
    )


def total(values, axes):
    return values.sum(axis=tuple(range(-axes, 0)))


def test_resolve_dims_takes_spatial_dims_or_names_in_order(field):
    assert resolve_dims(field) == ("y", "x")
    assert resolve_dims(field, "time") == ("time",)
    assert resolve_dims(field, ("x", "time")) == ("time", "x")
    assert resolve_dims(field.to_dataset(), ["x"]) == ("x",)


@pytest.mark.parametrize("dims", ["lon", ("x", "lon"), ()])
def test_resolve_dims_refuses_what_is_not_there(field, dims):
    with pytest.raises(SchemaError, match=r"time.*y.*x"):
        resolve_dims(field, dims)


def test_resolve_dims_needs_a_spatial_dim():
    with pytest.raises(SchemaError, match="name the dimensions"):
        resolve_dims(xr.DataArray([1.0], dims="time"))


def test_whole_keeps_values_and_the_size_of_chunks(field):
    chunked = field.chunk(time=8, y=2, x=3)
    result = whole(chunked, ["y", "x"])
    assert result.chunksizes == {"time": (2, 2, 2, 2), "y": (4,), "x": (6,)}
    xr.testing.assert_identical(result.compute(), field)
    assert whole(field, ["x"]) is field
    single = field.chunk(time=1)
    assert whole(single, ["y", "x"]) is single


def test_lift_equals_the_kernel_chunked_or_not(field):
    expected = field.values.sum(axis=(1, 2))
    for given in (field, field.chunk(time=3)):
        with dask.config.set(scheduler=refuse):
            result = lift(
                total,
                given,
                core_dims=["y", "x"],
                output_core_dims=[[]],
                output_dtypes=[float],
                kwargs={"axes": 2},
            )
        assert (result.chunks is None) == (given.chunks is None)
        np.testing.assert_array_equal(result.values, expected)
        assert result.attrs == {}
        assert float(result.Re) == 10.0


def test_lift_keeps_attributes_of_coordinates_with_several_inputs(field):
    result = lift(np.add, field, field, core_dims=["x"], output_dtypes=[float])
    assert result.x.attrs == {"period": 1.0, "units": "m"}
    assert field.attrs == {"units": "kg"}


def test_lift_gives_several_outputs_and_new_sizes(field):
    first, half = lift(
        lambda a: (a[..., 0], a[..., ::2]),
        field.chunk(time=2),
        core_dims=["x"],
        output_core_dims=[[], ["x"]],
        output_sizes={"x": 3},
        output_dtypes=[float, float],
    )
    np.testing.assert_array_equal(first, field[..., 0])
    np.testing.assert_array_equal(half, field[..., ::2])
    assert "x" not in half.coords


def test_lift_refuses_a_chunked_core_dim_and_names_the_call(field):
    with pytest.raises(SchemaError, match=r'total .*rechunk with \.chunk\(\{"y": -1, "x": -1\}\)'):
        lift(total, field.chunk(y=2, x=3), core_dims=["y", "x"], output_dtypes=[float])


def test_lift_refuses_other_positions(field):
    other = field.assign_coords(x=field.x + 1)
    with pytest.raises(ValueError, match="exact"):
        lift(np.add, field, other, core_dims=["x"], output_dtypes=[float])


def sums(values, *, core):
    axes = tuple(range(values.ndim - core, values.ndim))
    return values.sum(axis=axes, keepdims=True)[..., None]


def added(states, *, axes):
    return states.sum(axis=tuple(range(states.ndim - 1 - axes, states.ndim - 1)))


@pytest.mark.parametrize("chunks", [None, {"time": 1}, {"time": 3, "y": 1, "x": 4}, {"x": 1}])
@pytest.mark.parametrize("over", [("x", "y"), ("time", "y", "x"), ("time",), ()])
def test_reduce_blocks_equals_the_whole_lazily(field, chunks, over):
    given = field if chunks is None else field.chunk(chunks)
    with dask.config.set(scheduler=refuse):
        lazy = reduce_blocks(sums, added, given, over=over, size=1)
    assert (lazy.chunks is None) == (chunks is None)
    expected = field.sum(over) if over else field
    np.testing.assert_allclose(lazy.squeeze("state").compute(), expected, rtol=1e-12)
    assert lazy.dims == (*(d for d in field.dims if d not in over), "state")
    assert "Re" in lazy.coords


@pytest.mark.parametrize("together", [("time",), ("y",), ("time", "y")])
def test_what_is_left_comes_in_one_chunk(field, together):
    given = field.chunk({"time": 1, "y": 1, "x": 2})
    found = reduce_blocks(sums, added, given, over=["x"], size=1, together=together)
    for dim in ("time", "y"):
        assert len(found.chunksizes[dim]) == (1 if dim in together else field.sizes[dim])
    np.testing.assert_allclose(found.squeeze("state").compute(), field.sum("x"), rtol=1e-12)


def test_large_blocks_are_reduced_piece_by_piece():
    seen = []

    def state(values, *, core):
        seen.append(values.shape)
        return sums(values, core=core)

    field = xr.DataArray(np.arange(2.0**20).reshape(4, 512, 512), dims=("time", "y", "x"))
    found = reduce_blocks(state, added, field.chunk(time=4), over=["y", "x"], size=1)
    np.testing.assert_array_equal(found.squeeze("state").compute(), field.sum(["y", "x"]))
    assert seen == [(1, 512, 512)] * 4


def test_few_tasks_fold_blocks_in_their_order():
    def beside(*blocks):
        return np.concatenate(blocks, axis=1)

    def largest(*blocks):
        return np.array([max(one.max() for one in blocks)])

    leaves = da.arange(34, chunks=1).reshape(2, 17, merge_chunks=False)
    found = fold_blocks(leaves, beside, [1], join=[0], dtype=leaves.dtype)
    assert found.chunks == ((2,), (17,))
    np.testing.assert_array_equal(found.compute(), np.arange(34).reshape(2, 17))
    assert len(found.dask.layers[found.name]) == 2 * (5 + 2 + 1) + 1
    assert fold_blocks(leaves, max, join=[]) is leaves
    apart = fold_blocks(leaves, largest, [1], without=[1])
    np.testing.assert_array_equal(apart.compute(), [16, 33])


def test_real_variables_are_named_or_found():
    tag = {"vector": "velocity"}
    ds = xr.Dataset(
        {
            "u": (("y", "x"), np.ones((2, 3)), {**tag, "component": "x"}),
            "v": ("x", np.ones(3), {**tag, "component": "y"}),
            "w": ("x", np.ones(3) + 1j),
        }
    )
    assert list(real_variables(ds)) == ["u", "v"]
    assert list(real_variables(ds, dims=["y"])) == ["u"]
    assert list(real_variables(ds, "velocity")) == ["u", "v"]
    assert list(real_variables(ds.u.rename(None))) == ["data"]
    with pytest.raises(UnknownNameError, match="'p'"):
        real_variables(ds, ["p"])
    with pytest.raises(SchemaError, match="complex"):
        real_variables(ds, "w")


def test_stack_fills_what_is_missing():
    parts = {"a": xr.DataArray([1.0, 2.0], dims="x"), "b": xr.DataArray(3.0)}
    found = stack(parts, ["a", "b", "c"])
    np.testing.assert_array_equal(found, [[1, 2], [3, 3], [np.nan, np.nan]])
