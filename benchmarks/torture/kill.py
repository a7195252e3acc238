"""Writers killed at random instants: nothing wrong is read, nothing finished is done twice.

A writer is killed by the clock, or in front of a chosen change to the file system, so that every
step of a write is met. Then another process looks at what is left, and a third one runs the same
code again (and may be killed too) or, for a write into a sealed store, undoes it.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.torture import _stores as stores
from benchmarks.torture._fork import Child, Outcome, call, count_changes, kill_at
from benchmarks.torture._stores import Job
from xphys.io._log import entries

__all__ = ["JOBS", "Reference", "Tally", "finish", "inspect", "reference", "run", "write"]

#: Share of each job among the kills.
JOBS = {
    Job("lossless"): 6,
    Job("lossless", scheduler="processes"): 4,
    Job("compressed"): 6,
    Job("compressed", scheduler="processes"): 4,
    Job("sharded"): 2,
    Job("lossless", "replace"): 2,
    Job("compressed", "replace", "processes"): 1,
    Job("lossless", "append"): 2,
    Job("compressed", "append", "processes"): 2,
    Job("sharded", "append"): 1,
    Job("lossless", "region"): 2,
    Job("compressed", "region"): 2,
}


@dataclass
class Reference:
    """What a job does when nothing happens to it.

    Attributes
    ----------
    before, after : dict
        Files of the store that it starts from and of the one that it leaves.
    truths : list of str
        Files with the values of both.
    seconds : float
        Time it takes.
    changes : int
        Changes to the file system that it makes.
    trouble : str
        Why there is no reference.
    """

    before: dict[str, bytes] = field(default_factory=dict)
    after: dict[str, bytes] = field(default_factory=dict)
    truths: list[str] = field(default_factory=list)
    seconds: float = 0.0
    changes: int = 0
    trouble: str = ""


def write(job: Job, store: str, log: str, kill: int = 0) -> dict[str, Any]:
    """In a child: a write that notes what it computes."""
    os.environ[stores.LOG] = log
    counter = count_changes(store)
    if kill:
        kill_at(store, kill)
    start = time.perf_counter()
    stores.write(job, store)
    return {"seconds": time.perf_counter() - start, "changes": counter()}


def _save(store: str, target: str) -> None:
    """In a child: the values that xphys reads from a store."""
    ds = stores.load(store)
    np.savez(target, **{str(k): v.values for k, v in ds.variables.items()})


def reference(job: Job, folder: Path) -> Reference:
    """Run a job undisturbed, in a folder of its own."""
    folder = Path(mkdtemp(dir=folder))
    out, store = Reference(), folder / "store"
    first = stores.base(job)
    for step, stage in enumerate([first, job]):
        if stage is None:
            continue
        log = folder / f"log-{step}"
        done = call(write, stage, str(store), str(log))
        if done.status != "ok":
            return Reference(trouble=f"{stage.name}: {done.brief}")
        twice = [c for c, n in Counter(stores.computed(log)).items() if n > 1]
        if twice:
            return Reference(trouble=f"{stage.name}: computed twice in one run: {twice[:5]}")
        found = stores.files(store)
        if stage is not job:
            out.before = found
        out.after, out.seconds, out.changes = found, done.value["seconds"], done.value["changes"]
        truth = folder / f"{job.name}-{step}.npz"
        saved = call(_save, str(store), str(truth))
        if saved.status != "ok":
            return Reference(trouble=f"{stage.name}: reading: {saved.brief}")
        out.truths.append(str(truth))
    shutil.rmtree(store)
    return out


def inspect(store: str, truths: list[str]) -> dict[str, Any]:
    """In a child: read what is left of a store in every way.

    Returns
    -------
    dict
        ``problems`` (list of str), ``refused`` (names of errors) and ``plain_holes`` (variables
        that a plain or unchecked reader fills with values that were never written).
    """
    import xphys

    known = [dict(np.load(path)) for path in truths]
    problems: list[str] = []
    refused: list[str] = []
    for strict in (True, "full"):
        try:
            ds = xphys.open(store, strict=strict, chunks=None)
        except Exception as error:
            refused.append(type(error).__name__)
            problems += _unclear(f"open(strict={strict})", error)
            continue
        problems += _read(ds, known, f"open(strict={strict})")
    try:
        rows = xphys.verify(store)
        if bool((rows["state"] == "ok").all()) and refused:
            problems.append("verify says that all is well, open refuses")
    except Exception as error:
        problems += _unclear("verify", error)
    return {"problems": problems, "refused": refused, "plain_holes": _holes(store, known)}


def _unclear(what: str, error: Exception) -> list[str]:
    """A problem unless the error is one that tells a user what is wrong."""
    from xphys.errors import XphysError

    if isinstance(error, XphysError | FileNotFoundError):
        return []
    return [f"{what}: unclear {type(error).__name__}: {error}"[:300]]


def _read(ds: xr.Dataset, known: list[dict[str, Any]], what: str) -> list[str]:
    """Every variable on its own, so that one that refuses does not hide another one."""
    problems = []
    for name, variable in ds.variables.items():
        try:
            values = variable.values
        except Exception as error:
            problems += _unclear(f"{what}, {name}", error)
            continue
        if not any(str(name) in k and _equal(values, k[str(name)]) for k in known):
            problems.append(f"{what}: SILENT HOLE in {name}")
    return problems


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _holes(store: str, known: list[dict[str, Any]]) -> list[str]:
    """Variables that readers who do not check get wrong; for information."""
    out = []
    for what, options in (("plain", {}), ("unchecked", {"strict": False})):
        try:
            if what == "plain":
                ds = xr.open_zarr(store, chunks=None)
            else:
                import xphys

                ds = xphys.open(store, chunks=None, **options)
            out += [f"{what} {p.rpartition(' ')[2]}" for p in _read(ds, known, what) if "HOLE" in p]
        except Exception:  # refusing is what we hope for
            continue
    return out


def published(store: Path, ref: Reference) -> tuple[set[str], list[str]]:
    """Chunks that are done, ``variable/number``, and those published without a record."""
    done, bare = set(), []
    found = stores.files(store) if store.is_dir() else {}
    logs = [data for n, data in found.items() if n.startswith("_xphys/journal/log/")]
    noted = {name for data in logs for name, _ in entries(data)}
    begun = "_xphys/journal/run.json" in found
    # from the last document of the manifest on, the journal is only swept away
    sealed = all(found.get(name) == data for name, data in ref.after.items())
    for name in noted | {n for n in ref.after if "/c/" in n and not n.startswith("_xphys")}:
        variable, _, place = name.partition("/c/")
        if variable not in stores.FIELDS or not (sealed or begun):
            continue
        new = name in found and found[name] != ref.before.get(name)
        if sealed or (name in noted and found.get(name) == ref.after.get(name)):
            done.add(f"{variable}/{place.split('/')[0]}")
        elif new and name not in noted:
            bare.append(name)
    return done, bare


def _interrupt(job: Job, ref: Reference, store: Path, log: Path, rng: random.Random) -> Outcome:
    """Start the writer and kill it."""
    if rng.random() < 0.5:
        # each process counts on its own, from where it was forked off
        last = ref.changes * (3 if job.scheduler == "processes" else 1)
        return Child(write, job, str(store), str(log), rng.randint(1, last)).wait()
    child = Child(write, job, str(store), str(log))
    child.wait_for_start()
    time.sleep(rng.random() * ref.seconds * 1.1)
    child.kill()
    return child.wait()


@dataclass
class Tally:
    """Counts of a whole measurement."""

    kills: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    plain_holes: Counter[str] = field(default_factory=Counter)
    finishes: Counter[str] = field(default_factory=Counter)
    skipped_chunks: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)


def _case(job: Job, ref: Reference, folder: Path, rng: random.Random, tally: Tally) -> list[str]:
    """One store from its first write to its sealing; what went wrong."""
    store = folder / "store"
    stores.lay_out(store, ref.before)
    problems: list[str] = []
    done: set[str] = set()
    for attempt in range(rng.choice((1, 1, 1, 2, 3))):
        log = folder / "log"
        log.unlink(missing_ok=True)
        outcome = _interrupt(job, ref, store, log, rng)
        problems += _again(done, log, f"attempt {attempt}")
        if outcome.status != "killed":
            if outcome.status != "ok":
                problems.append(f"attempt {attempt}: {outcome.brief}")
            break
        tally.kills[job.name] += 1
        if not stores.difference(store, ref.after):
            break
        done, bare = published(store, ref)
        problems += [f"published without a record: {name}" for name in bare]
        seen = call(inspect, str(store), ref.truths)
        if seen.status != "ok":
            problems.append(f"inspecting: {seen.brief}")
        else:
            problems += seen.value["problems"]
            tally.refused.update(seen.value["refused"])
            tally.plain_holes.update(seen.value["plain_holes"])
    return problems + finish(job, ref, folder, done, rng, tally)


def _again(done: set[str], log: Path, what: str) -> list[str]:
    """Finished chunks that were computed again, and chunks computed twice."""
    counts = Counter(stores.computed(log))
    twice = sorted(c for c, n in counts.items() if n > 1)
    again = sorted(done & counts.keys())
    out = [f"{what}: FINISHED CHUNKS COMPUTED AGAIN: {again[:5]}"] if again else []
    return out + ([f"{what}: computed twice in one run: {twice[:5]}"] if twice else [])


def finish(
    job: Job, ref: Reference, folder: Path, done: set[str], rng: random.Random, tally: Tally
) -> list[str]:
    """Run the same code again, or undo a write into a sealed store."""
    store, log = folder / "store", folder / "log"
    log.unlink(missing_ok=True)
    if not stores.difference(store, ref.after):
        tally.finishes["was sealed"] += 1
        return []
    begun = (store / "_xphys/journal/run.json").exists()
    if job.action in ("append", "region") and begun and rng.random() < 0.5:
        # a write that was complete but for the removal of its journal need not be undone
        ends = (ref.before, ref.after)
        if rng.random() < 0.3:
            tally.finishes["killed while undoing"] += 1
            call(_undo, str(store), rng.randint(1, ref.changes // 2))
            if any(not stores.difference(store, end) for end in ends):
                return []
        tally.finishes["undone"] += 1
        outcome = call(_undo, str(store), 0)
    else:
        tally.finishes["resumed"] += 1
        tally.skipped_chunks += len(done)
        ends = (ref.after,)
        outcome = call(write, job, str(store), str(log))
    problems = [] if outcome.status == "ok" else [f"finishing: {outcome.brief} {outcome.trace}"]
    problems += _again(done, log, "resuming")
    rest = min((stores.difference(store, end) for end in ends), key=len)
    return problems + ([f"NOT BYTE-IDENTICAL: {rest}"] if rest else [])


def _undo(store: str, kill: int) -> None:
    """In a child: back to the last sealed state."""
    import xphys

    if kill:
        kill_at(store, kill)
    xphys.repair(store)


def run(kills: int = 500, seed: int = 0, blocks: int = 20, only: str = "") -> dict[str, Any]:
    """Kill writers until there were that many kills.

    Parameters
    ----------
    kills : int
        Number of SIGKILLs that met a writer at work.
    seed : int
        Of the choice of jobs and instants; case ``n`` depends on seed and ``n`` alone.
    blocks : int
        Chunks along time of each of three variables.
    only : str
        Part of the name of the jobs.

    Returns
    -------
    dict
        Counts and failures (with job, case and reason).
    """
    tally, start = Tally(), time.perf_counter()
    with stores.work_folder() as folder:
        refs = {}
        for job in (replace(job, blocks=blocks) for job in JOBS if only in job.name):
            refs[job] = reference(job, folder)
            if refs[job].trouble:
                tally.failures.append({"case": "reference", "problems": [refs[job].trouble]})
        chosen = [j for j in refs if not refs[j].trouble]
        weights = [JOBS[replace(j, blocks=Job().blocks)] for j in chosen]
        case = 0
        while chosen and sum(tally.kills.values()) < kills and case < 5 * kills:
            rng = random.Random(f"{seed}/{case}")
            job = rng.choices(chosen, weights)[0]
            problems = _case(job, refs[job], folder, rng, tally)
            if problems:
                tally.failures.append({"case": case, "job": job.name, "problems": problems})
            case += 1
    return _report(tally, time.perf_counter() - start)


def _report(tally: Tally, seconds: float) -> dict[str, Any]:
    total = sum(tally.kills.values())
    return {
        "kills": total,
        "by_job": dict(sorted(tally.kills.items())),
        "refusals": dict(tally.refused),
        "finishes": dict(tally.finishes),
        "finished_chunks_when_resuming": tally.skipped_chunks,
        "plain_reader_holes": dict(tally.plain_holes),
        "seconds_per_kill": round(seconds / max(total, 1), 3),
        "failures": tally.failures,
    }
