"""A write that is only partly done: the objects that a repair needs."""

from __future__ import annotations

import xarray as xr
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.task_spec import Task, TaskRef
from zarr.abc.store import Store

from xphys.errors import SchemaError
from xphys.io import _objects as objects
from xphys.io._layout import Layout
from xphys.io._payload import find_payloads
from xphys.io._records import Describe
from xphys.io.writers._graph import write_tasks
from xphys.io.writers._prepare import prepare
from xphys.io.writers._stage import stage

__all__ = ["rewrite"]


def rewrite(
    ds: xr.Dataset,
    below: Store,
    target: Store,
    group: str,
    layouts: dict[str, Layout],
    keys: set[str],
) -> dict[str, Describe]:
    """Compute some objects of a group again and write them to a store.

    Parameters
    ----------
    ds : Dataset
        As it was given to `to_zarr`.
    below : zarr store
        Has the metadata documents of the group.
    target : zarr store
        Takes the objects; its documents are those of ``below``.
    group : str
        Path of the group.
    layouts : dict
        Grids of the arrays.
    keys : set of str
        Keys in the group of the objects wanted.

    Returns
    -------
    dict
        For arrays written as payloads: what tells the measured errors of their bytes.

    Raises
    ------
    SchemaError
        If the Dataset lacks a variable or has another shape.
    """
    for path, layout in layouts.items():
        if path not in ds.variables or ds[path].shape != layout.shape:
            raise SchemaError(
                f"expected variable {path!r} of shape {layout.shape} in the source: give the "
                "Dataset that was written"
            )
    payloads = find_payloads(ds)[0]
    wanted = ds[[n for n in ds.variables if str(n) in layouts]]
    ready, merged = prepare(
        wanted, payloads, None, None, None, layouts, append_dim=None, region=None
    )
    staged = stage(ready, below, group=group, mode="a", encoding=merged)
    for inside, data in staged.chunks.items():
        if inside in keys and data is not None:
            objects.write(target, objects.join(group, inside), data)
    decoders = {str(name): layer for name, layer in payloads.items()}
    every = {
        f"{w.path}/{layouts[w.path].key(i)}"
        for w in staged.writes
        for i in layouts[w.path].objects()
    }
    tasks = write_tasks(group, layouts, target, staged.writes, decoders, every - keys, "rewrite")
    final = "rewrite-end"
    tasks[final] = Task(final, _nothing, *(TaskRef(k) for k in tasks if k[0] == "rewrite"))
    graph = HighLevelGraph({final: MaterializedLayer(tasks)}, {final: set()})
    Delayed(final, graph).compute()
    return {path: layer.spec.describe for path, layer in decoders.items()}


def _nothing(*_: object) -> None:
    """Runs when all is written."""
