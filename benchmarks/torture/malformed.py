"""Malformed and hostile files: one clear error or consistent values, whatever was changed.

Files of the formats that `xphys.open` reads are changed by mutators that know their structure, and
opened and read by a child process that is watched. Formats that C libraries parse are read directly
too, where crashes and hangs of the library are counted, and by `untrusted=True`, where they must
not reach the caller: all cases that went wrong directly, and a share of the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import struct
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.torture._fork import Child
from benchmarks.torture._formats import FORMATS, Files, Sample
from benchmarks.torture._mutate import arrays, hdf5, text
from benchmarks.torture._mutate.any import anything
from benchmarks.torture._stores import work_folder

__all__ = ["FORMATS", "run"]

_BATCH = 250
_HANGS = 10.0  # seconds of the processor for one case
_WALL = 120  # seconds on the clock, on a machine with much else to do
_MARGIN = 192 * 2**20  # bytes beyond four times what was read: small things are read whole
_MOST = 2**30  # bytes of memory
_WHOLE = 2**24  # bytes above which a corner of a variable is read

Mutator = Callable[[random.Random, bytes], bytes]


def _mutator(name: str, data: bytes) -> Mutator:
    """By content, as readers look at it."""
    for start, found in (
        (b"\x89HDF", hdf5.mutate),
        (b"\x93NUMPY", arrays.npy),
        (b"PK", arrays.npz),
        (b"MATLAB", arrays.mat),
        (b"Athena binary", text.athenak),
        (b"# vtk", text.vtk),
        (b"CDF", text.classic),
    ):
        if data.startswith(start):
            return found
    if name.endswith(".hst"):
        return text.table
    if data[:1] in (b"{", b"["):
        return text.document
    return _chunk


def _chunk(rng: random.Random, data: bytes) -> bytes:
    """Bytes of a chunk, or a stream that holds far more."""
    return zlib.compress(bytes(2**22)) if rng.random() < 0.05 else anything(rng, data)


def change(rng: random.Random, sample: Sample) -> Files:
    """The files of a sample, one of them changed, gone, or another's content in it."""
    files = dict(sample.files)
    name = rng.choice(sorted(files))
    if len(files) > 1 and rng.random() < 0.05:
        other = rng.choice(sorted(files))
        files[name] = files[other]
        if other == name:
            del files[name]
        return files
    old = files[name]
    new = _mutator(name, old)(rng, old)
    while new == old or rng.random() < 0.2:
        try:
            again = _mutator(name, new)
            new = (hdf5.structures if again is hdf5.mutate else again)(rng, new)
        except Exception:  # the structure is not there any more
            new = anything(rng, new)
    files[name] = new
    return files


class _HangError(BaseException):
    """A case that takes too long; no handler of ordinary errors may catch it."""


def _stop(*_: object) -> None:
    raise _HangError


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """Of the processor, of the clock, and one that ends the process if Python is not reached."""
    signal.signal(signal.SIGPROF, _stop)
    signal.signal(signal.SIGALRM, _stop)
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    limits = ((signal.ITIMER_PROF, _HANGS), (signal.ITIMER_REAL, _WALL),
              (signal.ITIMER_VIRTUAL, 1.5 * _HANGS))  # fmt: skip
    try:
        for timer, seconds in limits:
            signal.setitimer(timer, seconds)
        yield
    finally:
        for timer, _ in limits:
            signal.setitimer(timer, 0)


def _reset_peak() -> int:
    """Forget the largest memory of this process so far; what it has now."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def _look(path: str, options: dict[str, Any]) -> tuple[str, str, int]:
    """Open and read: the outcome, what is wrong with it, and the bytes of values read."""
    import numpy as np
    import xarray as xr

    import xphys

    declared = 0
    when = "open"
    try:
        ds = xphys.open(path, chunks=None, **options)
        when = "reading"
        nodes = [n.to_dataset() for n in ds.subtree] if isinstance(ds, xr.DataTree) else [ds]
        for node in nodes:
            for name in node.variables:
                part = node[name]
                if part.nbytes > _WHOLE:
                    part = part.isel(
                        {d: slice(None, None, max(n - 1, 1)) for d, n in part.sizes.items()}
                    )
                declared = max(declared, part.nbytes)
                values = np.asarray(part.values)
                if values.shape != part.shape or values.dtype.hasobject != part.dtype.hasobject:
                    return "INCONSISTENT", f"{name}: {part.shape} read as {values.shape}", declared
    except Exception as error:
        return f"{type(error).__name__} at {when}", _unclear(error, when), declared
    return "values", "", declared


def _unclear(error: Exception, when: str) -> str:
    """What is wrong with an error."""
    from xphys.errors import XphysError

    said = str(error)
    if not isinstance(error, XphysError | FileNotFoundError | PermissionError):
        where = _where(error)
        return f"unclear at {when}, {type(error).__name__}: {said[:160]} {where}"
    if "\n" in said or len(said) > 3000:
        return f"not one line at {when}, {type(error).__name__}: {said[:160]!r}"
    return ""


def _where(error: Exception) -> str:
    """The last line of this package on the way to an error."""
    import traceback

    ours = [f for f in traceback.extract_tb(error.__traceback__) if "/xphys/" in f.filename]
    return f"[{ours[-1].filename.rpartition('/xphys/')[2]}:{ours[-1].lineno}]" if ours else ""


def _lay_out(folder: Path, sample: Sample, files: Files) -> str:
    """Write files where a sample was; what to open."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return str(folder / next(iter(files)) if len(sample.files) == 1 and files else folder)


def _case(folder: Path, sample: Sample, rng: random.Random, engine: str, isolated: bool) -> Any:
    """One change, judged."""
    target = _lay_out(folder, sample, change(rng, sample))
    options = dict(sample.options)
    if rng.random() < 0.5:
        options["engine"] = engine
    if isolated:
        from xphys.io import Isolation

        options["untrusted"] = Isolation(processes=1)
    before = _reset_peak()
    # what is reserved is limited as well as what is used
    size = _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (size + _MOST + _MARGIN, resource.RLIM_INFINITY))
    try:
        with _time_limit():
            outcome, trouble, declared = _look(target, options)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    peak = max(_status("VmHWM") - before, 0)
    if peak > min(4 * declared + _MARGIN, _MOST):
        trouble = trouble or f"took {peak >> 20} MiB to read {declared} bytes ({outcome})"
    return outcome, trouble, peak


def _batch(
    folder: str, name: str, seed: int, numbers: list[int], isolated: bool, progress: str
) -> dict[str, Any]:
    """In a child: many cases."""
    import xphys.io._open  # noqa: F401

    warnings.simplefilter("ignore")
    samples = FORMATS[name].samples()
    for sample in samples:
        outcome = _look(_lay_out(Path(folder), sample, sample.files), sample.options)[0]
        if outcome != "values":
            raise RuntimeError(f"{sorted(sample.files)[:3]}, which is sound, gives {outcome}")
    counts: Counter[str] = Counter()
    failures, peak = [], 0
    with open(progress, "r+b", buffering=0) as report:
        for position, number in enumerate(numbers):
            report.seek(0)
            report.write(struct.pack("<q", position))
            rng = random.Random(f"{seed}/{name}/{number}")
            sample = samples[rng.randrange(len(samples))]
            try:
                outcome, trouble, most = _case(Path(folder), sample, rng, name, isolated)
                peak = max(peak, most)
            except _HangError:
                outcome, trouble = "HANG", f"more than {_HANGS:g} s"
            counts[outcome] += 1
            if trouble:
                failures.append({"case": number, "format": name, "problem": trouble})
            report.seek(8)
            report.write(json.dumps([dict(counts), failures, peak]).encode().ljust(1))
            report.truncate()
    return {"counts": dict(counts), "failures": failures, "peak": peak}


@dataclass
class _Result:
    """Of the cases of one format in one way of reading."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    crashes: list[dict[str, Any]] = field(default_factory=list)
    peak: int = 0

    def add(self, found: Any) -> None:
        counts, failures, peak = found
        self.counts.update(counts)
        self.failures += failures
        self.peak = max(self.peak, peak)


def _cases(folder: Path, name: str, seed: int, numbers: list[int], isolated: bool) -> _Result:
    """All cases in children; after a crash the next child goes on behind the case."""
    result = _Result()
    progress = folder / "progress"
    left = list(numbers)
    while left:
        batch = left[:_BATCH]
        progress.write_bytes(struct.pack("<q", 0))
        child = Child(_batch, str(folder / "case"), name, seed, batch, isolated, str(progress))
        end = child.wait(timeout=300 + 30.0 * len(batch))
        if end.status == "ok":
            result.add((end.value["counts"], end.value["failures"], end.value["peak"]))
            left = left[len(batch) :]
            continue
        if end.status == "error":
            raise RuntimeError(f"{name}: {end.brief}\n{end.trace}")
        data = progress.read_bytes()
        position = struct.unpack("<q", data[:8])[0]
        if position and data[8:]:
            result.add(json.loads(data[8:]))
        what = f"{end.status} {end.error}".strip()
        if what == f"crash signal {int(signal.SIGVTALRM)}":
            what = f"more than {1.5 * _HANGS:g} s inside a library"
        result.counts[f"CRASH: {what}"] += 1
        result.crashes.append({"case": batch[position], "format": name, "problem": what})
        left = left[position + 1 :]
    return result


def _one(name: str, mutations: int, seed: int, share: float) -> dict[str, Any]:
    """Everything about one format."""
    made = FORMATS[name]
    start = time.perf_counter()
    with work_folder() as folder:
        direct = _cases(folder, name, seed, list(range(mutations)), False)
        out: dict[str, Any] = {"cases": mutations, "direct": dict(sorted(direct.counts.items()))}
        out["peak_MiB"] = direct.peak >> 20
        wrong = [*direct.failures, *direct.crashes]
        if made.native:
            native = [f for f in wrong if not f["problem"].startswith(("unclear", "not one"))]
            failures = [f for f in direct.failures if f not in native]
            rng = random.Random(f"{seed}/{name}")
            again = {f["case"] for f in wrong}
            again |= {n for n in range(mutations) if rng.random() < share}
            inside = _cases(folder, name, seed, sorted(again), True)
            out["direct_crashes_hangs_memory"] = dict(
                Counter(f["problem"].split(" to read")[0] for f in native)
            )
            out["direct_cases_wrong"] = native[:40]
            out["isolated_cases"] = len(again)
            out["isolated"] = dict(sorted(inside.counts.items()))
            out["isolated_peak_of_caller_MiB"] = inside.peak >> 20
            isolated = [*inside.failures, *inside.crashes]
            failures += [{**f, "problem": f"isolated: {f['problem']}"} for f in isolated]
        else:
            failures = wrong
    out["seconds_per_case"] = round((time.perf_counter() - start) / max(mutations, 1), 4)
    out["failures"] = failures
    return out


def _import() -> None:
    """What every child needs, once: a fork takes it along."""
    import h5netcdf  # noqa: F401
    import h5py  # noqa: F401
    import netCDF4  # noqa: F401
    import scipy.io  # noqa: F401

    import xphys.io._open
    import xphys.io.readers.zarr_store  # noqa: F401


def run(
    mutations: int = 5000,
    seed: int = 0,
    *,
    formats: tuple[str, ...] = (),
    share: float = 0.1,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Change and read files of every format.

    Parameters
    ----------
    mutations : int
        Of each format.
    seed : int
        Equal seeds make equal files.
    formats : tuple of str
        Names among `FORMATS`; empty for all.
    share : float
        Of the cases of formats with C libraries that are read with ``untrusted=True`` although
        reading them directly did no harm.
    log : callable, optional
        Told about each format that is done.

    Returns
    -------
    dict
        Format -> counts of outcomes and failures.
    """
    _import()
    out = {}
    for name in formats or tuple(FORMATS):
        out[name] = _one(name, mutations, seed, share)
        if log:
            log(f"malformed {name}: {len(out[name]['failures'])} failures\n")
    return out


def reproduce(name: str, case: int, folder: str, seed: int = 0) -> str:
    """Write the files of a case; their folder or the single file."""
    samples = FORMATS[name].samples()
    rng = random.Random(f"{seed}/{name}/{case}")
    sample = samples[rng.randrange(len(samples))]
    files = change(rng, sample)
    for inner, data in files.items():
        place = Path(folder) / inner
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    forced = rng.random() < 0.5
    path = os.path.join(folder, next(iter(files))) if len(sample.files) == 1 else folder
    return f"{path} engine={name if forced else None}"
