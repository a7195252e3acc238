"""Arrays on which codecs tend to break their promise, and the promise itself."""

from __future__ import annotations

import numpy as np

from xphys.coding import Bounds


def _waves(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    phase = sum(
        (a + 1) * np.linspace(0, 5, n).reshape((-1,) + (1,) * (len(shape) - a - 1))
        for a, n in enumerate(shape)
    )
    return np.asarray(np.sin(phase) + 0.01 * rng.standard_normal(shape))


def hard_fields() -> dict[str, np.ndarray]:
    """Name -> array; small, every one of a kind that once broke some codec."""
    rng = np.random.default_rng(7)
    shape = (18, 12, 20)
    base = _waves(shape)
    fields = {
        "smooth": base,
        "noise": rng.standard_normal(shape),
        "offset": 1e6 + base,
        "constant": np.full(shape, 3.7),
        "zeros": np.zeros(shape),
        "negative zeros": np.full(shape, -0.0),
        "one element": np.array([2.5]),
        "one step": base[:1],
        "empty": np.zeros((0, 4)),
        "prime sizes": _waves((17, 13, 7)),
        "one dimension": _waves((1009,)),
        "four dimensions": _waves((5, 6, 7, 8)),
        "spike": np.where(np.arange(base.size).reshape(shape) == 777, 1.0, 0.0),
        "sixty decades": 10.0 ** rng.uniform(-30, 30, shape) * rng.choice([-1, 1], shape),
        "checkerboard": np.indices(shape).sum(axis=0) % 2 * 2.0 - 1,
        "steps": np.where(base > 0, 1.0, -1.0),
    }
    fields |= _with_holes(base, rng)
    fields |= _extremes(rng, shape)
    return fields


def _with_holes(base: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    nan = np.where(rng.random(base.shape) < 0.2, np.nan, base)
    payload = base.copy()
    payload.view(np.uint64)[0, 0, :3] = (0x7FF8DEADBEEF0001, 0xFFF0000000000001, 0x7FF4000000000000)
    infinite = base.copy()
    infinite[3, 2, 1], infinite[4, 2, 1] = np.inf, -np.inf
    mask = base.copy()
    mask[:, :4] = 1e20
    both = base.copy()
    both[:, 0], both[:, 1] = 1e20, -9.99e33
    return {
        "nan": nan,
        "nan payload": payload,
        "all nan": np.full((4, 5), np.nan),
        "infinities": infinite,
        "fill 1e20": mask,
        "two fill values": both,
    }


def _extremes(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    bits64 = rng.integers(0, 2**64, 3000, dtype=np.uint64).view(np.float64)
    bits32 = rng.integers(0, 2**32, 3000, dtype=np.uint32).view(np.float32)
    bits16 = np.arange(2**16, dtype=np.uint16).view(np.float16)
    base = _waves(shape)
    return {
        "random bits f8": bits64,
        "random bits f4": bits32,
        "every f2": bits16,
        "denormals f8": (rng.integers(-999, 999, shape) * 5e-324).astype(np.float64),
        "denormals f4": (rng.integers(-999, 999, shape) * np.float32(1e-45)).astype(np.float32),
        "largest f8": base / np.abs(base).max() * np.finfo(np.float64).max,
        "largest f4": (base / np.abs(base).max() * np.finfo(np.float32).max).astype(np.float32),
        "f4": base.astype(np.float32),
        "f2": base.astype(np.float16),
        "big endian f4": base.astype(">f4"),
        "big endian f8": base.astype(">f8"),
        "fortran order": np.asfortranarray(base),
        "i2": (base * 1000).astype(np.int16),
        "u1": ((base - base.min()) * 80).astype(np.uint8),
        "i8 large": rng.integers(-(2**62), 2**62, shape),
        "i8": (base * 1e6).astype(np.int64),
        "big endian i4": (base * 1e6).astype(">i4"),
        "i4 extremes": rng.choice([np.iinfo(np.int32).min, np.iinfo(np.int32).max], shape),
    }


def violations(x: np.ndarray, y: np.ndarray, bounds: Bounds) -> list[str]:
    """Every way in which y breaks the promise made for x; numpy only, no code of the codec.

    Norms and range are those of all finite values except such that are above 1e19.
    """
    found = []
    native = x.astype(x.dtype.newbyteorder("="))
    if y.dtype != native.dtype or y.shape != x.shape:
        return [f"dtype or shape: {y.dtype} {y.shape}"]
    if not x.size:
        return found
    kind = f"u{x.dtype.itemsize}"
    special = ~np.isfinite(native)
    if (native[special].view(kind) != y[special].view(kind)).any():
        found.append("a value that is not finite changed")
    a, b = native[~special].astype(np.longdouble), y[~special].astype(np.longdouble)
    if not np.isfinite(b).all():
        return [*found, "a finite value became infinite or NaN"]
    if not a.size:
        return found
    error = np.abs(b - a)
    squared, spread = np.sqrt((error**2).sum()), a.max() - a.min()
    limits = {
        "vrmse": (squared, np.sqrt(((a - a.mean()) ** 2).sum())),
        "rel_l2": (squared, np.sqrt((a**2).sum())),
        "max_abs": (error.max(), 1.0),
        "max_rel": (error.max(), spread),
    }
    for name, value in bounds.to_dict().items():
        if name == "pointwise_rel":
            bad = (error > np.longdouble(value) * np.abs(a)).any()
        elif name == "psnr":
            allowed = spread * np.sqrt(np.longdouble(a.size)) * 10 ** (-value / 20)
            bad = squared > allowed
        else:
            measured, unit = limits[name]
            bad = measured > np.longdouble(value) * unit
        if bad:
            found.append(f"{name}={value} does not hold")
    return found
