"""Damaged stores: every flipped bit and every swapped, stale or missing object is noticed.

A case damages a sealed store, opens and reads what the damage may reach, and mends the store. It
passes if something is raised, or if what was read is identical to the original and `xphys.verify`
names the damaged file. Anything else is a failure: other values, an error that does not say what
is wrong, a crash, a hang.
"""

from __future__ import annotations

import random
import shutil
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from benchmarks.torture import _stores as stores
from benchmarks.torture._fork import Child, call
from benchmarks.torture._stores import Job

__all__ = ["MUTATIONS", "run"]

KINDS = ("lossless", "compressed", "sharded", "appended")
_BATCH = 1000
_HANGS = 30  # seconds for one case, which takes milliseconds

Files = dict[str, bytes]
#: New content of files; None for a file that goes, _FOLDER for one that becomes a folder.
Change = dict[str, Any]
_FOLDER = object()


@dataclass(frozen=True)
class Target:
    """A sealed store and others to take foreign objects from.

    Attributes
    ----------
    files, older : dict
        Of the store, and of one that the same code wrote from other values (or, for the
        appended store, of its state before).
    """

    files: Files
    older: Files

    def chunks(self) -> list[str]:
        """Names of the chunks of variables."""
        return [n for n in self.files if "/c/" in n and not n.startswith("_xphys")]


def flip(rng: random.Random, target: Target, all_targets: dict[str, Target]) -> Change:
    """One bit, in a file chosen from all alike or by its size."""
    names = [n for n, data in target.files.items() if data]
    if rng.random() < 0.5:
        name = rng.choice(names)
    else:
        name = rng.choices(names, [len(target.files[n]) for n in names])[0]
    data = bytearray(target.files[name])
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return {name: bytes(data)}


def _delete(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    return {rng.choice(list(target.files)): None}


def _delete_folder(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    folders = {n.rpartition("/")[0] for n in target.files} - {""}
    folder = rng.choice(sorted(folders | {"_xphys", "_xphys/manifest", *stores.FIELDS}))
    return {n: None for n in target.files if n.startswith(f"{folder}/")}


def _truncate(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    name = rng.choice([n for n, data in target.files.items() if data])
    return {name: target.files[name][: rng.randrange(len(target.files[name]))]}


def _zero(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    name = rng.choice([n for n, data in target.files.items() if data])
    data = bytearray(target.files[name])
    start, stop = sorted(rng.choices(range(len(data) + 1), k=2))
    if rng.random() < 0.5:
        start, stop = 0, len(data)
    data[start:stop] = bytes(stop - start)
    return {name: bytes(data)}


def _grow(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    name = rng.choice(list(target.files))
    return {name: target.files[name] + rng.randbytes(rng.randint(1, 64))}


def _swap(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    one = rng.choice(target.chunks())
    variable = one.split("/")[0]
    other = rng.choice([n for n in target.chunks() if n.startswith(f"{variable}/")])
    return {one: target.files[other], other: target.files[one]}


def _swap_between(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    one, other = rng.sample(target.chunks(), 2)
    if rng.random() < 0.5:  # the same place of another variable
        other = f"{rng.choice(stores.FIELDS)}/{one.partition('/')[2]}"
    other = other if other in target.files else rng.choice(target.chunks())
    return {one: target.files[other], other: target.files[one]}


def _swap_documents(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    last = rng.choice(("zarr.json", "/c/0/0", "zarr.json"))
    one, other = rng.sample([n for n in target.files if n.endswith(last)], 2)
    return {one: target.files[other], other: target.files[one]}


def _stale(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    name = rng.choice([n for n in target.files if n in target.older])
    return {name: target.older[name]}


def _stale_variable(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    """All of a variable, with its records: it fits itself, not the rest."""
    variable = rng.choice(stores.FIELDS)
    places = [f"{variable}/", f"_xphys/manifest/{variable}/"]
    if rng.random() < 0.5:
        places = places[:1]
    names = {n for n in target.files | target.older if n.startswith(tuple(places))}
    return {n: target.older.get(n) for n in names}


def _stale_manifest(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    """The whole manifest of another run."""
    names = {n for n in target.files | target.older if n.startswith("_xphys/")}
    return {n: target.older.get(n) for n in names}


def _foreign(rng: random.Random, target: Target, all_targets: dict[str, Target]) -> Change:
    name = rng.choice(target.chunks())
    other = all_targets[rng.choice(list(all_targets))]
    source = other.older if rng.random() < 0.5 else other.files
    if rng.random() < 0.3:
        return {name: rng.randbytes(len(target.files[name]))}
    return {name: source.get(name) or other.files[rng.choice(other.chunks())]}


def _duplicate(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    one, other = rng.sample(target.chunks(), 2)
    return {one: target.files[other]}


def _rename(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    name = rng.choice(list(target.files))
    new = rng.choice((f"{name}.partial", _free_place(rng, target), f"moved/{name}"))
    return {name: None, new: target.files[name]}


def _extra(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    """An object more: in an empty place, outside the grid, or unknown."""
    data = target.files[rng.choice(target.chunks())]
    new = rng.choice(("notes.txt", "level/c/9999/0/0", "density/c/0/1/0", "more/zarr.json"))
    return {_free_place(rng, target) if rng.random() < 0.5 else new: data}


def _free_place(rng: random.Random, target: Target) -> str:
    """Key of a chunk of level that is left out because it holds fill values."""
    there = {int(n.split("/")[2]) for n in target.files if n.startswith("level/c/")}
    return f"level/c/{rng.choice(sorted(set(range(max(there) + 2)) - there))}/0/0"


def _folder(rng: random.Random, target: Target, _: dict[str, Target]) -> Change:
    return {rng.choice(list(target.files)): _FOLDER}


def _shard_index(rng: random.Random, target: Target, all_targets: dict[str, Target]) -> Change:
    """The two entries of a shard's index swapped (with the checksum of the old index)."""
    name = rng.choice(target.chunks())
    data = target.files[name]
    if len(data) < 36:
        return {}
    first = struct.unpack_from("<QQ", data, len(data) - 36)
    second = struct.unpack_from("<QQ", data, len(data) - 20)
    return {name: data[:-36] + struct.pack("<QQQQ", *second, *first) + data[-4:]}


Maker = Callable[[random.Random, Target, dict[str, Target]], Change]
MUTATIONS: dict[str, Maker] = {
    "delete": _delete,
    "delete folder": _delete_folder,
    "truncate": _truncate,
    "zero-fill": _zero,
    "grow": _grow,
    "swap in a variable": _swap,
    "swap between variables": _swap_between,
    "swap documents": _swap_documents,
    "stale object": _stale,
    "stale variable": _stale_variable,
    "stale manifest": _stale_manifest,
    "foreign object": _foreign,
    "duplicate": _duplicate,
    "rename": _rename,
    "extra object": _extra,
    "file to folder": _folder,
    "shard index": _shard_index,
}


def _apply(store: Path, change: Change) -> None:
    for name, data in change.items():
        path = store / name
        if data is None or data is _FOLDER:
            path.unlink(missing_ok=True)
        if data is _FOLDER:
            path.mkdir()
        elif data is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _mend(store: Path, target: Target, change: Change) -> None:
    for name in change:
        path = store / name
        if path.is_dir():
            path.rmdir()
        if name in target.files:
            path.write_bytes(target.files[name])
        else:
            path.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == store or any(parent.iterdir()):
                    break
                parent.rmdir()


@dataclass
class _Bench:
    """In a child: stores to damage and what was found so far."""

    folder: Path
    targets: dict[str, Target]
    truths: dict[str, xr.Dataset] = field(default_factory=dict)
    opened: dict[str, xr.Dataset] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def prepare(self) -> None:
        """Write every store as it should be, open and read it."""
        import xphys

        for kind, target in self.targets.items():
            shutil.rmtree(self.folder / kind, ignore_errors=True)
            _apply(self.folder / kind, dict(target.files))
            self.truths[kind] = stores.load(str(self.folder / kind))
            self.opened[kind] = xphys.open(str(self.folder / kind), chunks={})

    def case(self, number: int, seed: int, makers: dict[str, Maker]) -> None:
        """One damage."""
        rng = random.Random(f"{seed}/{number}")
        kind = rng.choice(list(self.targets))
        target, store = self.targets[kind], self.folder / kind
        change: Change = {}
        while not change:  # what was drawn may change nothing
            what = rng.choice(list(makers))
            made = makers[what](rng, target, self.targets)
            change = {n: d for n, d in made.items() if d != target.files.get(n)}
        _apply(store, change)
        try:
            outcome, trouble = self.judge(rng, kind, change, always=what != "flip")
        finally:
            _mend(store, target, change)
        self.counts[f"{what}: {outcome}"] += 1
        if trouble:
            names = sorted(change)[:4]
            self.failures.append(
                {"case": number, "kind": kind, "what": what, "files": names, "problem": trouble}
            )

    def judge(self, rng: random.Random, kind: str, change: Change, always: bool) -> tuple[str, str]:
        """What happened, and what is wrong with that."""
        store = str(self.folder / kind)
        outcome, trouble = self.read(rng, kind, change)
        if outcome == "identical" or always or rng.random() < 0.02:
            silent = outcome == "identical"
            named, problem = _verified(store, change, must_name=silent)
            trouble = trouble or problem
            outcome = f"{outcome}, verify {named}" if silent else outcome
        return outcome, trouble

    def read(self, rng: random.Random, kind: str, change: Change) -> tuple[str, str]:
        """Open and read all that a change may reach."""
        import xphys

        truth = self.truths[kind]
        heads = {n.split("/")[0] for n in change}
        chunks_only = all("/c/" in n for n in change) and heads <= set(stores.FIELDS)
        names = sorted(heads) if chunks_only else list(map(str, truth.variables))
        options: dict[str, Any] = {"chunks": rng.choice((None, None, "auto"))}
        if rng.random() < 0.05:
            options["strict"] = "full"
        try:
            if chunks_only and rng.random() < 0.7:  # damaged after it was opened
                ds = self.opened[kind]
            else:
                ds = xphys.open(str(self.folder / kind), **options)
        except Exception as error:
            return f"{type(error).__name__} at open", _fatal(error, "open")
        try:
            ds, truth = ds[names], truth[names]
            if rng.random() < 0.3 and "time" in ds.dims:
                start = rng.randrange(truth.sizes["time"])
                part = slice(start, rng.randint(start + 1, truth.sizes["time"]))
                ds, truth = ds.isel(time=part), truth.isel(time=part)
            with stores.scheduled("synchronous"):
                same = ds.compute().identical(truth)
        except Exception as error:
            return f"{type(error).__name__} at reading", _fatal(error, "reading")
        return ("identical", "") if same else ("WRONG", "read other values and nothing was said")


def _fatal(error: Exception, when: str) -> str:
    """What is wrong with an error: at reading only those of xphys are clear."""
    from xphys.errors import XphysError

    if isinstance(error, XphysError):
        return ""
    said = f"unclear at {when}, {type(error).__name__}: {str(error)[:200]}"
    ours = (AssertionError, AttributeError, IndexError, MemoryError, RecursionError, SystemError)
    return said if when == "reading" or isinstance(error, ours) else ""


def _verified(store: str, change: Change, must_name: bool) -> tuple[str, str]:
    """What verify says of a damaged store."""
    import xphys
    from xphys.errors import XphysError

    try:
        rows = xphys.verify(store)
    except XphysError as error:
        return f"raises {type(error).__name__}", ""
    except Exception as error:
        return "fails", f"verify: {type(error).__name__}: {str(error)[:200]}"
    bad = {str(k) for k in rows["key"].values[rows["state"].values != "ok"]}
    if not bad:
        return "SAYS OK", "verify says that all is well"
    if must_name and not any(k and (k in n or n in k) for k in bad for n in change):
        return "names another", f"verify names {sorted(bad)[:4]} only"
    return "names it", ""


class _HangError(BaseException):
    """A case that takes too long; no handler of ordinary errors may catch it."""


def _alarm(*_: object) -> None:
    raise _HangError


def _batch(
    folder: str,
    targets: dict[str, Target],
    what: str,
    seed: int,
    numbers: range,
    progress: str,
) -> dict[str, Any]:
    """In a child: many cases."""
    bench = _Bench(Path(folder), targets)
    bench.prepare()
    makers = {"flip": flip} if what == "flips" else MUTATIONS
    signal.signal(signal.SIGALRM, _alarm)
    with open(progress, "r+b", buffering=0) as report:
        for number in numbers:
            report.seek(0)
            report.write(struct.pack("<q", number))
            signal.alarm(_HANGS)
            try:
                bench.case(number, seed, makers)
            except _HangError:
                bench.failures.append({"case": number, "what": what, "problem": "hang"})
                bench.prepare()
            except Exception:  # of the harness itself
                trace = traceback.format_exc()[-2000:]
                bench.failures.append({"case": number, "what": what, "problem": trace})
                bench.prepare()
            signal.alarm(0)
    return {"counts": dict(bench.counts), "failures": bench.failures}


def _targets(folder: Path, blocks: int) -> dict[str, Target]:
    """Files of the stores to damage."""
    out = {}
    for kind in KINDS:
        job = Job("lossless" if kind == "appended" else kind, blocks=blocks)
        steps = [job, Job(job.kind, blocks=blocks, seed=2)]
        if kind == "appended":
            last = Job("lossless", "append", blocks=blocks)
            first = stores.base(last)
            assert first is not None
            steps = [first, last]
        seen = []
        for n, step in enumerate(steps):
            store = folder / (kind if kind == "appended" else f"{kind}-{n}")
            done = call(stores.write, step, str(store))
            if done.status != "ok":
                raise RuntimeError(f"{step.name}: {done.brief}\n{done.trace}")
            seen.append(stores.files(store))
        new, old = (seen[1], seen[0]) if kind == "appended" else seen
        out[kind] = Target(new, old)
    return out


def run(
    flips: int = 100_000,
    mutations: int = 10_000,
    seed: int = 0,
    *,
    blocks: int = 4,
    workers: int = 1,
) -> dict[str, Any]:
    """Damage stores that many times.

    Parameters
    ----------
    flips : int
        Bits flipped, one at a time.
    mutations : int
        Structural changes, those of `MUTATIONS` by chance.
    seed : int
        Of the choice; case ``n`` depends on seed and ``n`` alone.
    blocks : int
        Chunks along time of each of three variables.
    workers : int
        Processes at once.

    Returns
    -------
    dict
        Counts of outcomes and failures, for flips and mutations.
    """
    with stores.work_folder() as folder:
        targets = _targets(folder, blocks)
        out: dict[str, Any] = {}
        for what, count in (("flips", flips), ("mutations", mutations)):
            start = time.perf_counter()
            counts, failures = _cases(folder, targets, what, seed, count, workers)
            seconds = time.perf_counter() - start
            out[what] = {
                "cases": sum(counts.values()),
                "outcomes": dict(sorted(counts.items())),
                "seconds_per_case": round(seconds * workers / max(count, 1), 5),
                "failures": sorted(failures, key=lambda f: f["case"]),
            }
    return out


def _cases(
    folder: Path, targets: dict[str, Target], what: str, seed: int, count: int, workers: int
) -> tuple[Counter[str], list[dict[str, Any]]]:
    """Batches, some at once; one that dies goes on behind the case it died of."""
    counts: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    waiting = [range(n, min(n + _BATCH, count)) for n in range(0, count, _BATCH)]
    while waiting:
        now, waiting = waiting[:workers], waiting[workers:]
        running = []
        for n, numbers in enumerate(now):
            progress = folder / f"progress-{n}"
            progress.write_bytes(struct.pack("<q", numbers.start))
            args = (str(folder / f"damaged-{n}"), targets, what, seed, numbers, str(progress))
            running.append((Child(_batch, *args), numbers, progress))
        for child, numbers, progress in running:
            done = child.wait(timeout=_HANGS * 20)
            if done.status == "ok":
                counts.update(done.value["counts"])
                failures += done.value["failures"]
                continue
            (number,) = struct.unpack("<q", progress.read_bytes())
            counts[f"{what}: {done.status}"] += 1
            failures.append({"case": number, "what": what, "problem": done.brief + done.trace})
            waiting.append(range(number + 1, numbers.stop))
    return counts, failures
