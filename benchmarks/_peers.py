"""Other compressors behind one call: array and tolerance to bytes, bytes to array."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

HEADER = 24  # shape, dtype and tolerance, which a reader of bare streams needs beside them


@dataclass(frozen=True)
class Peer:
    """encode(x, tolerance) -> bytes; decode(bytes, shape) -> x; float32, two or three axes.

    With ``frames`` always three.
    """

    name: str
    encode: Callable[[np.ndarray, float], bytes]
    decode: Callable[[bytes, tuple[int, ...]], np.ndarray]
    frames: bool = False


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


def _by_frame(
    name: str,
    encode: Callable[[np.ndarray, float], bytes],
    decode: Callable[[bytes], np.ndarray],
) -> Peer:
    """A peer for images: every frame a stream of its own with four bytes for its length."""

    def encode_all(x: np.ndarray, tolerance: float) -> bytes:
        parts = [encode(np.ascontiguousarray(frame), tolerance) for frame in x]
        return b"".join(struct.pack("<I", len(part)) + part for part in parts)

    def decode_all(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        out, at = np.empty(shape, np.float32), 0
        for frame in out:
            length = struct.unpack_from("<I", data, at)[0]
            part, at = data[at + 4 : at + 4 + length], at + 4 + length
            frame[...] = struct.unpack("<f", part)[0] if length == 4 else decode(part)
        return out

    return Peer(name, encode_all, decode_all, frames=True)


def _sperr_frames() -> Peer:
    import imagecodecs

    def encode(x: np.ndarray, tolerance: float) -> bytes:
        spread = float(np.ptp(x))
        quality = 20 * math.log10(spread / tolerance) if spread else 0.0
        if quality <= 0.1:
            return struct.pack("<f", float(x.mean()))
        return bytes(imagecodecs.sperr_encode(x, quality, "psnr"))

    return _by_frame("SPERR 2-D", encode, imagecodecs.sperr_decode)


def _sperr_points() -> Peer:
    import imagecodecs

    def encode(x: np.ndarray, tolerance: float) -> bytes:
        return bytes(imagecodecs.sperr_encode(x, tolerance, "pwe", chunks=x.shape, numthreads=1))

    return Peer("SPERR", encode, lambda data, _: imagecodecs.sperr_decode(data, numthreads=1))


def _sperr_points_frames() -> Peer:
    import imagecodecs

    def encode(x: np.ndarray, tolerance: float) -> bytes:
        if float(np.ptp(x)) == 0:
            return struct.pack("<f", float(x.flat[0]))
        return bytes(imagecodecs.sperr_encode(x, tolerance, "pwe"))

    return _by_frame("SPERR 2-D", encode, imagecodecs.sperr_decode)


def _jpeg2000() -> Peer:
    import imagecodecs

    def encode(x: np.ndarray, tolerance: float) -> bytes:
        low, high = float(x.min()), float(x.max())
        step = (high - low) / 65535 or 1.0
        whole = np.rint((x.astype(np.float64) - low) / step).astype(np.uint16)
        level = max(20 * math.log10(max(high - low, 1e-30) / tolerance), 1.0)
        stream = imagecodecs.jpeg2k_encode(
            whole, level=level, codecformat="j2k", bitspersample=16, numthreads=1
        )
        return struct.pack("<2f", low, step) + bytes(stream)

    def decode(data: bytes) -> np.ndarray:
        low, step = struct.unpack_from("<2f", data)
        return imagecodecs.jpeg2k_decode(data[8:]).astype(np.float32) * np.float32(
            step
        ) + np.float32(low)

    return _by_frame("JPEG 2000", encode, decode)


def _tucker() -> Peer:
    """Truncated higher-order SVD: half the squared error for what is cut off, half for rounding."""
    from numcodecs import zstd

    def pack(a: np.ndarray) -> bytes:
        planes = a.reshape(-1).view(np.uint8).reshape(-1, a.dtype.itemsize).T
        part = bytes(zstd.compress(planes.tobytes(), 12))
        return struct.pack("<I", len(part)) + part

    def encode(x: np.ndarray, tolerance: float) -> bytes:
        mean = float(x.mean(dtype=np.float64))
        core, factors = x.astype(np.float64) - mean, []
        allowed = tolerance**2 * x.size / 2
        for axis in range(x.ndim):
            rows = np.moveaxis(core, axis, 0).reshape(core.shape[axis], -1)
            power, vectors = np.linalg.eigh(rows @ rows.T)
            cut = int(np.searchsorted(np.cumsum(np.maximum(power, 0)), allowed / x.ndim))
            factor = vectors[:, min(cut, len(power) - 1) :].astype(np.float16)
            factors.append(factor)
            core = np.moveaxis(np.tensordot(factor.T.astype(float), rows, 1).reshape(
                -1, *np.delete(core.shape, axis)), 0, axis)  # fmt: skip
        step = math.sqrt(12 * allowed / core.size)
        head = struct.pack(f"<dd{x.ndim}I", mean, step, *core.shape)
        return head + b"".join(map(pack, [np.rint(core / step).astype(np.int32), *factors]))

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        head = struct.Struct(f"<dd{len(shape)}I")
        mean, step, *ranks = head.unpack_from(data)
        at, parts = head.size, []
        for dtype in (np.int32, *[np.float16] * len(shape)):
            length = struct.unpack_from("<I", data, at)[0]
            planes = np.frombuffer(zstd.decompress(data[at + 4 : at + 4 + length]), np.uint8)
            width = np.dtype(dtype).itemsize
            parts.append(np.ascontiguousarray(planes.reshape(width, -1).T).view(dtype).reshape(-1))
            at += 4 + length
        out = parts[0].reshape(ranks) * step
        for axis, (n, rank) in enumerate(zip(shape, ranks, strict=True)):
            factor = parts[axis + 1].reshape(n, rank).astype(float)
            out = np.moveaxis(np.tensordot(factor, np.moveaxis(out, axis, 0), 1), 0, axis)
        return (out + mean).astype(np.float32)

    return Peer("Tucker", encode, decode)


def _x265() -> Peer:
    """A 12-bit video codec; whole quantiser numbers, so errors land below the target."""
    from fractions import Fraction

    import av

    def encode(x: np.ndarray, tolerance: float) -> bytes:
        low, spread = float(x.min()), float(np.ptp(x))
        # a quantiser step doubles every six numbers
        number = round(6 * math.log2(max(tolerance / spread * 4095 * 3.5, 1e-3)) + 4)
        height, width = x.shape[-2:]
        frames = np.pad(
            np.rint((x - low) * (4095 / spread)).astype(np.uint16),
            ((0, 0), (0, -height % 8), (0, -width % 8)), mode="edge",
        )  # fmt: skip
        coder = av.CodecContext.create("libx265", "w")
        coder.height, coder.width = frames.shape[1:]
        coder.pix_fmt, coder.time_base, coder.thread_count = "gray12le", Fraction(1, 25), 1
        settings = f"qp={min(max(number, 0), 51)}:log-level=none:pools=1:frame-threads=1:keyint=-1"
        coder.options = {"preset": "medium", "x265-params": settings}
        packets = []
        for i, frame in enumerate(frames):
            video = av.VideoFrame(coder.width, coder.height, "gray12le")
            rows = np.zeros((coder.height, video.planes[0].line_size // 2), np.uint16)
            rows[:, : coder.width] = frame
            video.planes[0].update(rows.tobytes())
            video.pts = i
            packets += [bytes(p) for p in coder.encode(video)]
        packets += [bytes(p) for p in coder.encode(None)]
        return struct.pack("<ff", low, spread) + b"".join(
            struct.pack("<I", len(p)) + p for p in packets
        )

    def decode(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
        low, spread = struct.unpack_from("<ff", data)
        coder, at, frames = av.CodecContext.create("hevc", "r"), 8, []
        coder.thread_count = 1
        while at < len(data):
            length = struct.unpack_from("<I", data, at)[0]
            frames += coder.decode(av.Packet(data[at + 4 : at + 4 + length]))
            at += 4 + length
        frames += coder.decode(None)
        out = np.empty(shape, np.float32)
        for values, frame in zip(out, frames, strict=True):
            plane = frame.planes[0]
            rows = np.frombuffer(plane, np.uint16).reshape(frame.height, plane.line_size // 2)
            values[...] = rows[: shape[1], : shape[2]] * (spread / 4095) + low
        return out

    return Peer("x265", encode, decode, frames=True)


PEERS: dict[str, Callable[[], Peer]] = {"SZ3": _sz3, "SPERR": _sperr, "zfp": _zfp}
OTHER_PEERS: dict[str, Callable[[], Peer]] = {"Tucker": _tucker}
#: Needs the package av, whose x265 is under the GPL: for measuring only.
VIDEO_PEERS: dict[str, Callable[[], Peer]] = {"x265": _x265}
#: Codecs of single frames, which win where neighbouring frames have little in common.
FRAME_PEERS: dict[str, Callable[[], Peer]] = {"SPERR 2-D": _sperr_frames, "JPEG 2000": _jpeg2000}

#: With a tolerance for every point.
POINT_PEERS: dict[str, Callable[[], Peer]] = {
    "SZ3": _sz3,
    "SPERR": _sperr_points,
    "SPERR 2-D": _sperr_points_frames,
}


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
    if x.ndim == 2 and peer.frames:
        x = x[None]
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
