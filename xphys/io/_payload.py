"""Chunks that are bytes already: how a writer finds them behind an array.

For this level a payload is bytes per chunk and the JSON of the codec that reads them; what the
bytes mean is the business of whoever made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from xphys.io._records import Describe

__all__ = ["DecodeLayer", "PayloadLayer", "PayloadSpec", "attach_payload", "find_payload"]


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
    """

    serializer: Any
    chunks: tuple[int, ...]
    describe: Describe


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

    Returns
    -------
    dask Array
        The decoded values.
    """
    graph = source.__dask_graph__()
    layers = {**graph.layers, decode.payload: payload, name: decode}
    dependencies = {
        **graph.dependencies,
        decode.payload: set(source.__dask_layers__()),
        name: {decode.payload},
    }
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
