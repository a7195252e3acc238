"""Other compressors behind one call: array and tolerance to bytes, bytes to array."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

HEADER = 24  # shape, dtype and tolerance, which a reader of bare streams needs beside them


@dataclass(frozen=True)
class Peer:
    """encode(x, tolerance) -> bytes; decode(bytes, shape) -> x; float32, two or three axes."""

    name: str
    encode: Callable[[np.ndarray, float], bytes]
    decode: Callable[[bytes, tuple[int, ...]], np.ndarray]


def _sz3() -> Peer:
    from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode

    def encode(x: np.ndarray, tolerance: float) -> bytes:
        config = szConfig()
        config.errorBoundMode = szErrorBoundMode.ABS
        config.absErrorBound = float(tolerance)
        config.cmprAlgo = szAlgorithm.INTERP_LORENZO
        return bytes(sz.compress(x, config)[0].tobytes())

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        return sz.decompress(np.frombuffer(data, np.uint8).copy(), np.float32, shape)[0]

    return Peer("SZ3", encode, decode)


def _zfp() -> Peer:
    import zfpy

    return Peer(
        "zfp",
        lambda x, tolerance: zfpy.compress_numpy(x, tolerance=tolerance),
        lambda data, shape: zfpy.decompress_numpy(data).reshape(shape),
    )


def _sperr() -> Peer:
    import imagecodecs

    def encode(x: np.ndarray, tolerance: float) -> bytes:
        # its quality is a PSNR: that of a root mean square error equal to the tolerance
        quality = max(20 * math.log10(float(np.ptp(x)) / tolerance), 1.0)
        return bytes(imagecodecs.sperr_encode(x, quality, "psnr", chunks=x.shape, numthreads=1))

    return Peer("SPERR", encode, lambda data, _: imagecodecs.sperr_decode(data, numthreads=1))


PEERS: dict[str, Callable[[], Peer]] = {"SZ3": _sz3, "SPERR": _sperr, "zfp": _zfp}


def flatten(x: np.ndarray) -> np.ndarray:
    """At most three axes, which every peer takes: leading ones are joined."""
    return np.ascontiguousarray(x if x.ndim <= 3 else x.reshape(-1, *x.shape[-2:]))


def vrmse(x: np.ndarray, y: np.ndarray) -> float:
    """Root mean square error over standard deviation."""
    wide = x.astype(np.float64)
    return float(np.sqrt(((wide - y) ** 2).mean()) / wide.std())


def best_ratio(peer: Peer, x: np.ndarray, target: float, trials: int = 14) -> float:
    """Largest ratio at which the error stays below target, by bisection on the tolerance."""
    x = flatten(x)
    scale = float(x.astype(np.float64).std()) * target
    low, high, best = math.log(scale) - 4, math.log(scale) + 4, 0.0
    for _ in range(trials):
        middle = (low + high) / 2
        data = peer.encode(x, math.exp(middle))
        error = vrmse(x, np.asarray(peer.decode(data, x.shape)))
        if error <= target:
            low, best = middle, max(best, x.nbytes / (len(data) + HEADER))
            if error > 0.98 * target:
                break
        else:
            high = middle
    return best
