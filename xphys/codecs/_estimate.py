"""`estimate_compression`: what compressing would give, measured on some steps."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.highlevelgraph import HighLevelGraph

from xphys.codecs._api import Bound, compress
from xphys.codecs._options import AutoOptions
from xphys.coding import table
from xphys.coding.header import parse
from xphys.io import find_payload

__all__ = ["SAMPLE", "estimate_compression"]

#: Bytes of the largest variable.
SAMPLE = 4 * 2**20
_NAME = np.dtype("<U16")


def estimate_compression(
    ds: xr.Dataset,
    *,
    vrmse: Bound | None = None,
    rel_l2: Bound | None = None,
    max_abs: Bound | None = None,
    max_rel: Bound | None = None,
    psnr: Bound | None = None,
    pointwise_rel: Bound | None = None,
    scope: str | Iterable[str] = "variable",
    method: str = "auto",
    effort: str = "normal",
    preserve: Iterable[str] | Mapping[str, float | None] = (),
    variables: Iterable[Hashable] | None = None,
    chunks: Mapping[str, int] | None = None,
    seed: int = 0,
    options: AutoOptions | None = None,
) -> xr.Dataset:
    """Measure on a sample what `compress` with the same arguments would give, lazily.

    Parameters
    ----------
    ds : Dataset
        As for `compress`.
    vrmse, rel_l2, max_abs, max_rel, psnr, pointwise_rel : float or mapping, optional
        As for `compress`.
    scope, method, effort, preserve, variables, chunks, seed, options : optional
        As for `compress`.

    Returns
    -------
    Dataset
        Of dim ``variable`` (the variables that would be compressed): ``ratio`` (original bytes
        over coded ones), ``seconds`` (for the whole variable, on one thread of the machine that
        computes this; variables that are coded together share their time) and ``method`` (which
        codes most blocks); with ``preserve`` also ``preserve_cost``, the bytes more that it takes
        as a share of those without it. Nothing is computed until it is asked for.

    Raises
    ------
    BoundError, UnknownNameError, SchemaError, MissingDependencyError
        As `compress`.

    Notes
    -----
    The sample are steps from the middle of ``time``, up to 4 MiB of the largest variable; its
    own spread stands for that of the variable. Longer chunks compress somewhat better.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> wave = np.sin(np.linspace(0, 60, 65536)).reshape(16, 64, 64)
    >>> ds = xr.Dataset({"u": (("time", "y", "x"), wave)})
    >>> bool(estimate_compression(ds, vrmse=1e-2, method="bitround").ratio[0] > 4)
    True
    """
    arguments: dict[str, Any] = {
        "vrmse": vrmse,
        "rel_l2": rel_l2,
        "max_abs": max_abs,
        "max_rel": max_rel,
        "psnr": psnr,
        "pointwise_rel": pointwise_rel,
        "scope": scope,
        "method": method,
        "effort": effort,
        "preserve": preserve if isinstance(preserve, str | Mapping) else tuple(preserve),
        "variables": variables
        if variables is None or isinstance(variables, str)
        else list(variables),
        "seed": seed,
        "options": options,
    }
    coded = compress(ds, chunks=chunks, **arguments)
    names = [name for name in coded.data_vars if find_payload(coded[name].data) is not None]
    sample = _sample(ds)
    shares = np.array([ds[n].size / max(sample[n].size, 1) for n in names])
    measured = dask.delayed(_measure, pure=True)(sample, arguments, names, shares)
    count = len(names)
    numbers = da.from_delayed(measured[0], (2, count), np.float64)
    methods = da.from_delayed(measured[1], (count,), _NAME)
    found = xr.Dataset(
        {
            "ratio": ("variable", numbers[0], {"units": "1", "long_name": "compression ratio"}),
            "seconds": ("variable", numbers[1], {"units": "s", "long_name": "time to compress"}),
            "method": ("variable", methods, {"long_name": "method of most blocks"}),
        },
        coords={"variable": [str(name) for name in names]},
    )
    if arguments["preserve"]:
        freely = {**arguments, "preserve": ()}
        free = dask.delayed(_measure, pure=True)(sample, freely, names, shares)
        ratio = da.from_delayed(free[0], (2, count), np.float64)[0]
        about = {"units": "1", "long_name": "bytes more than without preserve, as a share"}
        found["preserve_cost"] = ("variable", ratio / numbers[0] - 1, about)
    return found


def _sample(ds: xr.Dataset) -> xr.Dataset:
    """Steps from the middle of time."""
    if "time" not in ds.dims:
        return ds
    steps = ds.sizes["time"]
    step = max((v.nbytes // steps for v in ds.values() if "time" in v.dims), default=0)
    count = min(max(SAMPLE // max(step, 1), 1), steps)
    start = (steps - count) // 2
    return ds.isel(time=slice(start, start + count))


def _measure(
    sample: xr.Dataset, arguments: dict[str, Any], names: list[Hashable], shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ratio and seconds, and method, of each variable."""
    coded = compress(sample, chunks={d: -1 for d in map(str, sample.dims)}, **arguments)
    numbers, methods = np.full((2, len(names)), np.nan), np.full(len(names), "", _NAME)
    layers = {n: layer for n in names if (layer := find_payload(coded[n].data)) is not None}
    for group in _groups({n: coded[n].data.__dask_graph__() for n in layers}):
        graph = HighLevelGraph.merge(*(coded[n].data.__dask_graph__() for n in group))
        keys = [(layers[n].payload, *(0,) * coded[n].ndim) for n in group]
        start = time.perf_counter()
        payloads = dask.get(graph, keys)
        took = (time.perf_counter() - start) / len(group)
        for name, data in zip(group, payloads, strict=True):
            i = names.index(name)
            numbers[:, i] = sample[name].nbytes / len(data), took * shares[i]
            codes = Counter(block.method for block in parse(data).blocks)
            code = codes.most_common(1)[0][0] if codes else 0
            methods[i] = table.by_code(code).name if code else "lossless"
    return numbers, methods


def _groups(graphs: Mapping[Hashable, HighLevelGraph]) -> list[list[Hashable]]:
    """Names whose graphs share layers: one task codes them all, and is to be run once."""
    found: list[tuple[set[str], list[Hashable]]] = []
    for name, graph in graphs.items():
        own = set(graph.layers)
        near = [group for group in found if group[0] & own]
        found = [group for group in found if not group[0] & own]
        members = [n for _, names in near for n in names]
        found.append((own.union(*(layers for layers, _ in near)), [*members, name]))
    return [names for _, names in found]
