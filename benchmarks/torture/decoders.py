"""Random and changed bytes into the decoders of compressed chunks.

Every method gets streams of its own with bytes changed, cut or noise, straight into its decoder,
and whole chunks whose digests are made to fit again, so that nothing is refused for its digest
only. Methods of this package must give values of the declared shape or one clear error within
seconds and within memory in proportion to what is declared; native libraries are run in children,
where their crashes and hangs are counted.
"""

from __future__ import annotations

import json
import mmap
import random
import resource
import signal
import struct
import warnings
from collections import Counter
from dataclasses import replace
from typing import Any

from benchmarks.torture._fork import call
from benchmarks.torture._mutate.any import anything
from benchmarks.torture.malformed import (
    _HangError,
    _reset_peak,
    _status,
    _time_limit,
    _unclear,
)

__all__ = ["OWN", "run"]

OWN = ("lossless", "transform", "bitround")
_BATCH = 2000
_MARGIN = 96 * 2**20  # bytes beyond 32 times the values: tables and temporary arrays
_TIMES = 32
_MOST = 2**31
_SHAPES = ((40,), (9, 17), (6, 16, 18), (2, 3, 8, 10))


def _samples(name: str) -> list[str]:
    """In a child: sound chunks of a method, of a few shapes, dtypes, with corrections and points
    stored exactly; in hexadecimal."""
    import numpy as np

    from xphys.coding import Bounds, Request, encode_chunk
    from xphys.coding.preserve import Preserve

    rng = np.random.default_rng(0)
    out = []
    for i, shape in enumerate(_SHAPES):
        x = rng.standard_normal(shape).cumsum(axis=-1).astype("f4" if i % 2 else "f8")
        if i == 2:
            x.reshape(-1)[::50] = np.nan
        kept = Preserve(("mean", "energy", "positivity")) if i % 2 else None
        if i == 3:
            kept = Preserve(("mean", "energy", "spectrum"))
        bounds = Bounds(vrmse=1e-2) if i < 2 else Bounds(max_abs=1e-2)
        request = Request() if name == "lossless" else Request(name, bounds, preserve=kept)
        out.append(encode_chunk(x, request).hex())
    return out


def _resealed(rng: random.Random, data: bytes) -> bytes:
    """A chunk with bytes of a block or of the header changed and all digests made again."""
    from xphys.coding.header import digest, parse

    header = parse(data)
    parts = [data[b.offset : b.offset + b.length] for b in header.blocks]
    place = rng.randrange(len(parts) + 1)
    if place < len(parts):
        parts[place] = anything(rng, parts[place])
        blocks = tuple(
            replace(block, length=len(part), digest=digest(part))
            for block, part in zip(header.blocks, parts, strict=True)
        )
        return replace(header, blocks=blocks).pack() + b"".join(parts)
    front = bytearray(data[: header.size - 8])
    start, stop = 4, len(front)
    at = rng.randrange(start, stop)
    front[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, front[at] ^ 1 << rng.randrange(8)))
    return bytes(front) + digest(bytes(front)) + b"".join(parts)


def _stream(data: bytes) -> tuple[int, bytes, tuple[int, ...]] | None:
    """Method, stream and shape of the first lossy block of a chunk."""
    from xphys._streams import Reader
    from xphys.coding.header import parse

    header = parse(data)
    for i, block in enumerate(header.blocks):
        if block.method:
            reader = Reader(data[block.offset : block.offset + block.length])
            return block.method, reader.take(reader.varint()), header.block_shape(i)
    return None


def _case(rng: random.Random, data: bytes) -> tuple[str, str]:
    """One change: the outcome, and what is wrong with it."""
    import numpy as np

    from xphys.coding import decode_chunk, table
    from xphys.coding.header import parse

    found = _stream(data)
    size = 0
    try:
        if found is None or rng.random() < 0.4:
            changed = _resealed(rng, data)
            size = int(np.prod(parse(changed).shape, dtype=float)) * 8
            decode_chunk(changed)
            return "values of a chunk", ""
        code, stream, shape = found
        size = int(np.prod(shape)) * 8
        changed = rng.randbytes(rng.randrange(300)) if rng.random() < 0.3 else stream
        for _ in range(rng.choice((1, 1, 2, 5))):
            changed = anything(rng, changed)
        values = table.by_code(code).decode(changed, shape)
        if values.shape != shape or values.dtype.kind != "f":
            return "values", f"expected {shape}, decoded {values.dtype} {values.shape}"
        return "values", ""
    except MemoryError:
        return "memory", f"asked for too much memory to decode {size} bytes"
    except Exception as error:
        return type(error).__name__, _unclear(error, "decoding")


def _batch(
    name: str, samples: list[bytes], seed: int, numbers: list[int], progress: mmap.mmap
) -> dict[str, Any]:
    """In a child: many cases."""
    from xphys.coding import decode_chunk

    warnings.simplefilter("ignore")
    for data in samples:  # what is loaded and compiled on first use is no part of a case
        decode_chunk(data)
    counts: Counter[str] = Counter()
    failures, most = [], 0
    for position, number in enumerate(numbers):
        progress[:8] = struct.pack("<q", position)
        rng = random.Random(f"{seed}/{name}/{number}")
        data = samples[rng.randrange(len(samples))]
        before = _reset_peak()
        size = _status("VmSize")
        resource.setrlimit(resource.RLIMIT_AS, (size + _MOST, resource.RLIM_INFINITY))
        try:
            with _time_limit():
                outcome, trouble = _case(rng, data)
        except _HangError:
            outcome, trouble = "HANG", "more than 10 s"
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        peak = max(_status("VmHWM") - before, 0)
        most = max(most, peak)
        if peak > _MARGIN and outcome != "values of a chunk":
            trouble = trouble or f"took {peak >> 20} MiB to decode ({outcome})"
        counts[outcome] += 1
        if trouble:
            failures.append({"case": number, "method": name, "problem": trouble})
        found = json.dumps([dict(counts), failures[-20:], most]).encode()
        progress[8:16] = struct.pack("<q", len(found))
        progress[16 : 16 + len(found)] = found
    return {"counts": dict(counts), "failures": failures, "peak": most}


def _one(name: str, cases: int, seed: int) -> dict[str, Any]:
    """Everything about one method; after a crash the next child goes on behind the case."""
    counts: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    crashes: list[dict[str, Any]] = []
    made = call(_samples, name, timeout=600)
    if made.status != "ok":
        raise RuntimeError(f"{name}: {made.brief}\n{made.trace}")
    samples = [bytes.fromhex(text) for text in made.value]
    most, left = 0, list(range(cases))
    while left:
        batch = left[:_BATCH]
        progress = mmap.mmap(-1, 2**20)
        end = call(_batch, name, samples, seed, batch, progress, timeout=120 + 12.0 * len(batch))
        if end.status == "error":
            raise RuntimeError(f"{name}: {end.brief}\n{end.trace}")
        if end.status == "ok":
            found, position = [end.value["counts"], end.value["failures"], end.value["peak"]], None
        else:
            position, length = struct.unpack("<qq", progress[:16])
            found = json.loads(progress[16 : 16 + length]) if position else [{}, [], 0]
        counts.update(found[0])
        failures += found[1]
        most = max(most, found[2])
        if position is None:
            left = left[len(batch) :]
            continue
        what = f"{end.status} {end.error}".strip()
        if what == f"crash signal {int(signal.SIGVTALRM)}":
            what = "more than 15 s inside a library"
        counts[f"CRASH: {what}"] += 1
        crashes.append({"case": batch[position], "method": name, "problem": what})
        left = left[position + 1 :]
    out: dict[str, Any] = {
        "cases": cases,
        "outcomes": dict(sorted(counts.items())),
        "peak_MiB": most >> 20,
    }
    if name in OWN:
        out["failures"] = [*failures, *crashes]
    else:
        clear = ("asked for too much", "took", "more than")
        native = [f for f in failures if f["problem"].startswith(clear)]
        out["contained"] = dict(Counter(f["problem"].split(" to ")[0] for f in crashes + native))
        out["failures"] = [f for f in failures if f not in native]
    return out


def run(cases: int, seed: int, *, methods: tuple[str, ...] = ()) -> dict[str, Any]:
    """Change bytes of every method.

    Parameters
    ----------
    cases : int
        For each method.
    seed : int
        Of the changes.
    methods : tuple of str, optional
        Names; all that can run here by default.

    Returns
    -------
    dict
        Of each method: outcomes, memory and failures.
    """
    import importlib.util

    from xphys.codecs.wrapped import CODECS

    here = [n for n, c in CODECS.items() if not c.package or importlib.util.find_spec(c.package)]
    known = ("lossless", "transform", *here)
    return {name: _one(name, cases, seed) for name in methods or known}
