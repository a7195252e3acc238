"""The same container as a numcodecs codec, for Zarr v2 and reference stores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numcodecs.abc import Codec

from xphys.codecs.wrapped import extra_of
from xphys.coding.bounds import Bounds
from xphys.coding.frame import decode_chunk, encode_chunk
from xphys.coding.header import parse
from xphys.coding.request import Request

__all__ = ["FrameCodec"]


class FrameCodec(Codec):  # type: ignore[misc]
    """Compressor for Zarr v2 arrays whose bytes equal those of the Zarr v3 codec.

    Parameters
    ----------
    method : str, default "transform"
        One of `xphys.coding.methods`, such as "lossless".
    roles, periodic : sequence, optional
        Of the axes, as in `xphys.coding.Request`.
    **bounds : float
        As in `xphys.coding.Bounds`; none means lossless.

    Notes
    -----
    A codec made from the metadata of a store writes losslessly, as the Zarr v3 codec does.

    Examples
    --------
    >>> import numpy as np
    >>> codec = FrameCodec(max_abs=1e-3)
    >>> x = np.linspace(0.0, 1.0, 64).reshape(4, 16)
    >>> bool(abs(codec.decode(codec.encode(x)) - x).max() <= 1e-3)
    True
    """

    codec_id = "xphys.frame"

    def __init__(
        self, method: str = "transform", roles: Any = (), periodic: Any = (), **bounds: float
    ) -> None:
        asked = Bounds(**bounds) if bounds else None
        name = method if asked is not None else "lossless"
        self.request = Request(name, asked, tuple(roles), tuple(periodic))
        self.lossy = True

    def encode(self, buf: Any) -> bytes:
        """Code one chunk."""
        values = np.asarray(buf)
        if values.flags.f_contiguous and not values.flags.c_contiguous:
            values = values.T  # Zarr takes the flat result in the order of memory
        return encode_chunk(values, self.request if self.lossy else Request())

    def decode(self, buf: Any, out: Any = None) -> np.ndarray:
        """Decode one chunk, in the byte order that was stored."""
        data = bytes(memoryview(buf).cast("B")) if not isinstance(buf, bytes) else buf
        values = decode_chunk(data).astype(parse(data).dtype, copy=False)
        if out is not None:
            np.asarray(out).reshape(-1).view(values.dtype)[...] = values.reshape(-1)
            return np.asarray(out)
        return values

    def get_config(self) -> dict[str, Any]:
        """The metadata of the codec."""
        return {"id": self.codec_id, **self.request.to_dict(), **extra_of(self.request)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FrameCodec:
        """A codec for reading what the metadata describes."""
        codec = cls()
        codec.request = Request.from_dict({k: v for k, v in config.items() if k != "id"})
        codec.lossy = False
        return codec
