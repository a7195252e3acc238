"""Chunks that are bytes already: how a writer finds them behind an array.

For this level a payload is bytes per chunk and the JSON of the codec that reads them; what the
bytes mean is the business of whoever made them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from xphys.io._records import Describe

__all__ = [
    "DecodeLayer",
    "PayloadLayer",
    "PayloadSpec",
    "attach_payload",
    "find_payload",
    "find_payloads",
]


@dataclass(frozen=True)
class PayloadSpec:
    """What a writer must know to store a payload.

    Attributes
    ----------
    serializer : zarr codec
        Reads the bytes; the same instance for all chunks.
    chunks : tuple of int
        Regular chunk shape; chunks at the end of an axis may be cut short.
    describe : callable
        Bytes of a chunk -> measured errors and length of its front.
    appendable : bool
        False if bytes depend on more than their own chunk: then they can neither be appended
        nor replace a part of an array.
    needs : mapping of str to str
        Variables whose payloads the bytes may refer to, itself included, and the names of those
        payloads: all must be written along, under these names.
    """

    serializer: Any
    chunks: tuple[int, ...]
    describe: Describe
    appendable: bool = True
    needs: Mapping[str, str] = field(default_factory=dict)


class PayloadLayer(MaterializedLayer):  # type: ignore[misc]
    """Tasks that return the bytes of one chunk each."""


class DecodeLayer(MaterializedLayer):  # type: ignore[misc]
    """Tasks that turn the bytes of one chunk into its values."""

    def __init__(
        self, mapping: Mapping[Any, Any], spec: PayloadSpec, payload: str, **kwargs: Any
    ) -> None:
        super().__init__(mapping, **kwargs)
        self.spec = spec
        self.payload = payload


def attach_payload(
    source: da.Array,
    payload: PayloadLayer,
    decode: DecodeLayer,
    *,
    name: str,
    dtype: np.dtype[Any],
    beside: Sequence[da.Array] = (),
) -> da.Array:
    """Put a payload layer and a decode layer behind an array.

    Parameters
    ----------
    source : dask Array
        What the payload layer depends on; gives shape and chunks.
    payload : PayloadLayer
        Keys ``(decode.payload, i, j, ...)``.
    decode : DecodeLayer
        Keys ``(name, i, j, ...)``.
    name : str
        Name of the new array.
    dtype : dtype
        Its dtype.
    beside : sequence of dask Array
        Others that the payload layer depends on.

    Returns
    -------
    dask Array
        The decoded values.
    """
    layers: dict[str, Any] = {}
    dependencies: dict[str, set[str]] = {decode.payload: set(), name: {decode.payload}}
    for array in (source, *beside):
        layers |= array.__dask_graph__().layers
        dependencies |= array.__dask_graph__().dependencies
        dependencies[decode.payload] |= set(array.__dask_layers__())
    layers |= {decode.payload: payload, name: decode}
    meta = np.empty((0,) * source.ndim, dtype)
    return da.Array(HighLevelGraph(layers, dependencies), name, source.chunks, meta=meta)


def find_payload(data: object) -> DecodeLayer | None:
    """The decode layer that an array comes from directly, if it does.

    Parameters
    ----------
    data : array
        Any array; only a dask array that nothing was done to since compressing has one.

    Returns
    -------
    DecodeLayer or None
        With ``payload`` (name of the layer of bytes) and ``spec``.
    """
    if not isinstance(data, da.Array):
        return None
    layer = getattr(data.__dask_graph__(), "layers", {}).get(data.name)
    return layer if isinstance(layer, DecodeLayer) else None


def find_payloads(ds: xr.Dataset) -> tuple[dict[Hashable, DecodeLayer], list[Hashable]]:
    """Payloads of a Dataset that can be stored as they are.

    Parameters
    ----------
    ds : Dataset
        Any.

    Returns
    -------
    payloads : dict
        Decode layer of each data variable that has a payload, all that it needs included.
    lacking : list
        Variables with a payload that needs others, which are not there or have other names.
    """
    found = {n: p for n, v in ds.data_vars.items() if (p := find_payload(v.variable._data))}
    names = {str(name): layer.payload for name, layer in found.items()}
    lacking = [
        name
        for name, layer in found.items()
        if layer.spec.needs
        and (
            names[str(name)] != layer.spec.needs.get(str(name))
            or any(names.get(n) != payload for n, payload in layer.spec.needs.items())
        )
    ]
    return {n: layer for n, layer in found.items() if n not in lacking}, lacking
