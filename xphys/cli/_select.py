"""Parts of a Dataset that a command was asked for, and what to say about chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr

from xphys import fields, io
from xphys.accessors import bytes_text
from xphys.errors import SchemaError, UnknownNameError
from xphys.schema import spatial_dims

__all__ = ["advice", "listed", "select", "sizes"]

_SMALLEST, _LARGEST = 10**6, 8 * 10**6  # bytes of an inner chunk that reads well
_SHARD = 2**28


def listed(text: str | None) -> list[str] | None:
    """Names with commas between them."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def sizes(option: str, entries: list[str] | None) -> dict[str, int] | None:
    """Sizes by dimension from ``dim=n``, several with commas or by repeating the option.

    Raises
    ------
    SchemaError
        If an entry has another form.
    """
    parts = [part for entry in entries or [] for part in entry.split(",") if part.strip()]
    found: dict[str, int] = {}
    for part in parts:
        dim, equals, number = part.partition("=")
        try:
            found[dim.strip()] = int(number)
        except ValueError:
            equals = ""
        if not equals or not dim.strip():
            raise SchemaError(f"--{option} takes dim=number, such as time=16, got {part!r}")
    return found or None


def select(
    ds: xr.Dataset,
    *,
    variables: str | None = None,
    time: str | None = None,
    time_values: str | None = None,
    factor: int = 1,
    method: str = "block",
) -> xr.Dataset:
    """Choose variables and steps, and bring fields to a coarser grid; all lazily.

    Parameters
    ----------
    ds : Dataset
        The source.
    variables : str, optional
        Names, or names of vectors, with commas.
    time : str, optional
        ``START:STOP[:STEP]`` as numbers of steps from 0, STOP left out; negative from the end.
    time_values : str, optional
        ``START:STOP`` as times, both included.
    factor, method : int, str
        As in `xphys.fields.degrade`.

    Raises
    ------
    SchemaError
        If a range cannot be understood, or holds no step.
    UnknownNameError
        If a variable does not exist.
    """
    names = listed(variables)
    if names is not None:
        ds = ds[_chosen(ds, names)]
    if time is not None or time_values is not None:
        if "time" not in ds.dims:
            raise SchemaError(f"expected a dimension 'time' to choose from, found {tuple(ds.dims)}")
        if time is not None and time_values is not None:
            raise SchemaError("give --time (numbers of steps) or --time-values, not both")
        ds = ds.isel(time=_steps(time)) if time is not None else _between(ds, str(time_values))
        if not ds.sizes["time"]:
            raise SchemaError(f"no step lies in {time or time_values!r}: see xphys info")
    return ds if factor == 1 else fields.degrade(ds, factor, method=method)


def _chosen(ds: xr.Dataset, names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        parts = [str(n) for n, v in ds.data_vars.items() if v.attrs.get("vector") == name]
        if name in ds.data_vars:
            found.append(name)
        elif parts:
            found += parts
        else:
            raise UnknownNameError(f"expected variables out of {list(ds.data_vars)}, got {name!r}")
    return list(dict.fromkeys(found))


def _steps(text: str) -> slice:
    try:
        parts = [int(part) if part.strip() else None for part in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) not in (2, 3) or (len(parts) == 3 and not (parts[2] or 1) > 0):
        raise SchemaError(
            f"--time takes START:STOP[:STEP], numbers of steps from 0, got {text!r}; times go "
            "into --time-values"
        )
    return slice(*parts)


def _between(ds: xr.Dataset, text: str) -> xr.Dataset:
    try:
        low, high = (float(part) if part.strip() else None for part in text.split(":"))
    except ValueError:
        raise SchemaError(
            f"--time-values takes START:STOP in units of time, got {text!r}"
        ) from None
    times = np.asarray(ds["time"].values, np.float64)
    kept = np.ones(times.size, bool)
    if low is not None:
        kept &= times >= low
    if high is not None:
        kept &= times <= high
    places = np.flatnonzero(kept)
    # a slice, so that no chunk is cut to pieces
    return ds.isel(time=slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0))


def advice(
    ds: xr.Dataset, chunks: Mapping[str, int] | None, shards: Mapping[str, int] | None
) -> list[str]:
    """What to say about the chunks and shards of the largest variable."""
    found = max(ds.data_vars.values(), key=lambda v: v.nbytes, default=None)
    if found is None or found.nbytes <= _LARGEST:
        return []
    dims, item = tuple(map(str, found.dims)), found.dtype.itemsize
    chunk = dict(zip(dims, io.storage_chunks(dims, found.shape, item, chunks), strict=True))
    size = math.prod(chunk.values()) * item
    shape = " x ".join(f"{dim} {n}" for dim, n in chunk.items())
    said = [f"{found.name}: inner chunks of {shape}, {bytes_text(size)}"]
    cut = [dim for dim in spatial_dims(found) if chunk[dim] < found.sizes[dim]]
    frame = math.prod(found.sizes[dim] for dim in spatial_dims(found)) * item
    if cut and frame <= _SHARD:
        said.append(f"frames are cut along {', '.join(cut)}: -1 keeps them whole")
    if not _SMALLEST <= size <= _LARGEST and "time" in chunk and frame <= _LARGEST:
        steps = max(min(_LARGEST // frame, found.sizes["time"]), 1)
        many = min(
            max(_SHARD // (frame * steps), 1) * steps, -(-found.sizes["time"] // steps) * steps
        )
        if steps != chunk["time"]:
            said.append(
                f"single steps read best from chunks of 1 to 8 MB: --chunks time={steps} "
                f"--shards time={many}"
            )
    objects = math.prod(
        -(-n // max(chunk[str(dim)], (shards or {}).get(str(dim), 0)))
        for dim, n in found.sizes.items()
    )
    if objects > 10_000:
        said.append(f"{objects} objects for each variable: larger --shards make fewer")
    return said
