"""Whole frames in each chunk, in memory or by way of files."""

from __future__ import annotations

import xarray as xr

from xphys._dims import whole
from xphys.errors import SchemaError
from xphys.spectra import _pencils as pencils

__all__ = ["gather", "gathered"]


def gathered(
    fields: list[xr.DataArray], names: list[str], room: pencils.Room
) -> list[xr.DataArray]:
    """Fields with whole frames in each chunk; an error if one does not fit."""
    found = []
    for field in fields:
        one = gather(field, names, room)
        if one is None:
            raise SchemaError(
                f"a frame of {field.name!r} does not fit in memory={room.memory} bytes, which "
                "this spectrum needs: raise memory="
            )
        found.append(one)
    return found


def gather(field: xr.DataArray, names: list[str], room: pencils.Room) -> xr.DataArray | None:
    """Whole frames in each chunk; None if one is too large for a task."""
    if all(len(field.chunksizes.get(name, ())) <= 1 for name in names):
        return field
    lead = [d for d in field.dims if d not in names]
    ordered = field.transpose(*lead, *names)
    if pencils.fits(ordered.data, len(names), room):
        return whole(field, names)
    data = pencils.gather(ordered.data, len(names), room)
    return None if data is None else ordered.copy(data=data)
