"""Two writers at once, full disks and read-only places: one result or a clear error."""

from __future__ import annotations

import errno
import os
import random
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.torture import _stores as stores
from benchmarks.torture._fork import Child, Outcome, call, fail_at, kill_at
from benchmarks.torture._stores import Job
from benchmarks.torture.kill import Reference, Tally, finish, inspect, reference

__all__ = ["run_disks", "run_races"]

_BLOCKS = 8
_LOSSLESS = Job("lossless", blocks=_BLOCKS)
_COMPRESSED = Job("compressed", blocks=_BLOCKS)
_CLEAR = {"XphysError", "FileExistsError"}


@dataclass(frozen=True)
class Race:
    """Two jobs for one store; `same` if they are one run."""

    one: Job
    other: Job

    @property
    def same(self) -> bool:
        return replace(self.one, scheduler="") == replace(self.other, scheduler="")

    @property
    def name(self) -> str:
        what = "same" if self.same else "different"
        return f"{self.one.action}, {what}: {self.one.kind} and {self.other.kind}"


def _races() -> list[Race]:
    made = []
    for job in (_LOSSLESS, _COMPRESSED, replace(_LOSSLESS, action="replace")):
        made += [Race(job, job), Race(job, replace(job, seed=2))]
    made += [
        Race(_LOSSLESS, replace(_LOSSLESS, scheduler="processes")),
        Race(_COMPRESSED, replace(_COMPRESSED, bound=5e-2)),
        Race(_LOSSLESS, _COMPRESSED),
        Race(_LOSSLESS, Job("sharded", blocks=_BLOCKS)),
    ]
    for action in ("append", "region"):
        job = replace(_LOSSLESS, action=action)
        made += [Race(job, job), Race(job, replace(job, seed=2))]
    return made


def _racer(job: Job, store: str, start: float, kill: int) -> None:
    """In a child: begin to write at a given time."""
    if kill:
        kill_at(store, kill)
    time.sleep(max(start - time.monotonic(), 0))
    stores.write(job, store)


def _is_clear(outcome: Outcome, extra: tuple[str, ...] = ()) -> bool:
    return outcome.status == "error" and bool(_CLEAR.union(extra) & set(outcome.families))


def _ends_well(job: Job, store: Path, allowed: list[dict[str, bytes]]) -> str:
    """Run a job that follows a race nobody won; "" or what is wrong."""
    outcome = call(stores.write, job, str(store))
    if outcome.status != "ok":
        return f"{job.name} seed {job.seed}: {outcome.brief}"
    return "" if store_in(store, allowed) else "following run: the store is none that was wanted"


def store_in(store: Path, allowed: list[dict[str, bytes]]) -> bool:
    """True if the files of a store are one of those sets."""
    return stores.files(store) in allowed


def _judge(race: Race, done: list[Outcome], store: Path, ends: list[dict[str, bytes]]) -> list[str]:
    """What is wrong after a race.

    ``ends`` are the files of the stores that the first and the second job leave when alone, then
    those that both leave one after the other.
    """
    problems = [
        f"unclear end of a writer: {o.brief} {o.trace}"
        for o in done
        if o.status not in ("ok", "killed") and not _is_clear(o)
    ]
    won = [n for n, o in enumerate(done) if o.status == "ok"]
    found = _files(store, done)
    if not won:
        if race.same and all(o.status == "error" for o in done):
            problems.append(f"nobody finished: {[o.brief for o in done]}")
        if found in ends:  # killed when all was done: "w-" rightly finds that the store exists
            return problems
        first = _ends_well(race.one, store, ends)
        second = _ends_well(race.other, store, ends) if first else ""
        if first and second:
            problems.append(f"no following run succeeds: {first}; {second}")
        return problems
    killed = [n for n, o in enumerate(done) if o.status == "killed"]
    if found not in ends and killed:
        # the other one had begun behind the winner: it is what has to be run again
        again = _ends_well((race.one, race.other)[killed[0]], store, ends)
        if again:
            problems.append(f"winners {won}, then one was killed: {again}")
    elif found not in ends:
        nearest = min((stores.difference(store, e) for e in ends), key=len)
        problems.append(f"winners {won}, but the store is none that was wanted: {nearest}")
    elif not race.same and race.one.action == "new":
        if len(won) == 2:
            problems.append("two different runs both say that they have written the new store")
        elif found != ends[won[0]]:
            problems.append(f"run {won[0]} says that it won, the store holds the other one")
    return problems


def _settled(store: str, partial_allowed: bool = False) -> str:
    """In a child: is the store sealed and sound?"""
    import xphys

    stores.load(store, strict="full")
    rows = xphys.verify(store)
    wrong = rows["state"].values != "ok"
    bad = [k for k in rows["key"].values[wrong] if not (partial_allowed and k.endswith(".partial"))]
    return f"verify: {list(map(str, bad[:5]))}" if bad else ""


def _files(store: Path, done: list[Outcome]) -> dict[str, bytes]:
    """Files of a store but for one that a killed writer had not renamed yet."""
    found = stores.files(store)
    killed = any(o.status == "killed" for o in done)
    return {n: data for n, data in found.items() if not (killed and n.endswith(".partial"))}


@dataclass
class _Known:
    """What was found out before the races: each thing once."""

    folder: Path
    references: dict[Job, Reference] = field(default_factory=dict)
    ends: dict[tuple[Job, ...], dict[str, bytes]] = field(default_factory=dict)

    def reference(self, job: Job) -> Reference:
        if job not in self.references:
            self.references[job] = reference(job, self.folder)
        return self.references[job]

    def end(self, first: Job, *jobs: Job) -> dict[str, bytes]:
        """Files after jobs one after the other in the store that the first one starts from."""
        if (first, *jobs) not in self.ends:
            store = self.folder / "sequel"
            stores.lay_out(store, self.reference(first).before)
            for job in jobs:
                outcome = call(stores.write, job, str(store))
                if outcome.status != "ok":
                    raise RuntimeError(f"{job.name}: {outcome.brief}\n{outcome.trace}")
            self.ends[first, *jobs] = stores.files(store)
        return self.ends[first, *jobs]


def _ends(race: Race, known: _Known) -> list[dict[str, bytes]]:
    """Stores that the jobs leave alone and one after the other, where both may take place."""
    orders = [[race.one], [race.other]]
    if race.one.action in ("append", "region"):
        orders += [[race.one, race.other], [race.other, race.one]]
    return [known.end(race.one, *order) for order in orders]


def _race(
    race: Race, ref: Reference, ends: list[dict[str, bytes]], store: Path, rng: random.Random
) -> tuple[str, list[str]]:
    """One race: what happened and what is wrong with it."""
    stores.lay_out(store, ref.before)
    begin = time.monotonic() + 0.02
    late = rng.choice((0.0, rng.random() * 0.02, rng.random() * ref.seconds * 1.2))
    kill = rng.randint(1, ref.changes) if rng.random() < 0.15 else 0
    delays, kills = [0.0, late], [0, kill]
    if rng.random() < 0.5:
        delays.reverse()
    jobs = (race.one, race.other)
    racers = [
        Child(_racer, j, str(store), begin + d, k)
        for j, d, k in zip(jobs, delays, kills, strict=True)
    ]
    done = [racer.wait() for racer in racers]
    problems = _judge(race, done, store, ends)
    sound = call(_settled, str(store), any(o.status == "killed" for o in done))
    if sound.status != "ok" or sound.value:
        problems.append(f"not sound in the end: {sound.value or sound.brief}")
    ended = " and ".join(sorted(o.error or o.status for o in done))
    return ended, problems


def run_races(races: int = 200, seed: int = 0) -> dict[str, Any]:
    """Let two writers race that many times.

    Parameters
    ----------
    races : int
        Number of races, over all pairs of jobs in turn.
    seed : int
        Of delays and kills.

    Returns
    -------
    dict
        Ends by pair of jobs, and failures.
    """
    ended: dict[str, Counter[str]] = {}
    failures: list[dict[str, Any]] = []
    start = time.perf_counter()
    with stores.work_folder() as folder:
        known = _Known(folder)
        pairs = _races()
        for case in range(races):
            race = pairs[case % len(pairs)]
            ref = known.reference(race.one)
            if ref.trouble:
                failures.append({"case": case, "race": race.name, "problems": [ref.trouble]})
                continue
            rng = random.Random(f"{seed}/{case}")
            end, problems = _race(race, ref, _ends(race, known), folder / "store", rng)
            ended.setdefault(race.name, Counter())[end] += 1
            if problems:
                failures.append({"case": case, "race": race.name, "problems": problems})
    return {
        "races": races,
        "ends": {name: dict(counts) for name, counts in sorted(ended.items())},
        "seconds_per_race": round((time.perf_counter() - start) / max(races, 1), 3),
        "failures": failures,
    }


def _mount(*arguments: str) -> bool:
    found = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    return found.returncode == 0


@contextmanager
def _mounted(place: Path, *arguments: str) -> Iterator[bool]:
    """Mount something; False where that is not permitted."""
    place.mkdir(parents=True, exist_ok=True)
    there = os.geteuid() == 0 and _mount(*arguments, str(place))
    try:
        yield there
    finally:
        if there:
            subprocess.run(["umount", "-l", str(place)], check=True)


def _starved(job: Job, store: str, way: str, amount: int) -> None:
    """In a child: write where there is too little room."""
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (amount, amount))
    elif way == "refusal":
        fail_at(store, amount)
    stores.write(job, store)


def _disk(
    job: Job, ref: Reference, folder: Path, way: str, rng: random.Random
) -> tuple[str, list[str]]:
    """One case of a full disk; what happened and what is wrong with it."""
    place = folder / "disk"
    with _mounted(place, "-t", "tmpfs", "tmpfs") as mounted:
        if way == "small disk" and not mounted:
            way = "refusal"
        store = place / "store"
        stores.lay_out(store, ref.before)
        amount = rng.randint(1, ref.changes)
        if way == "limit":
            amount = rng.randint(1, max(map(len, ref.after.values())))
        elif way == "small disk":
            _shrink(place, ref, rng)
        outcome = call(_starved, job, str(store), way, amount)
        if outcome.status == "ok":
            sealed = stores.difference(store, ref.after)
            return "", [f"{way}: says ok, store differs: {sealed}"] if sealed else []
        problems = []
        if not _is_clear(outcome, ("OSError",)):
            problems.append(f"{way} {amount}: unclear: {outcome.brief} {outcome.trace}")
        if way == "small disk":
            _mount("-o", "remount,size=1g,nr_inodes=100000", str(place))
        seen = call(inspect, str(store), ref.truths)
        problems += seen.value["problems"] if seen.status == "ok" else [seen.brief]
        problems += finish(job, ref, place, set(), rng, Tally())
        problems = [f"{way} {amount}: {p}" if p[:5] != way[:5] else p for p in problems]
        return f"{way}: {outcome.error}", problems


def _shrink(place: Path, ref: Reference, rng: random.Random) -> None:
    """Leave less room than a job needs, in bytes or in files."""
    found = os.statvfs(place)
    if rng.random() < 0.5:
        used = (found.f_blocks - found.f_bfree) * found.f_bsize
        size = used + rng.randint(1, 2 * len(ref.after)) * 4096
        _mount("-o", f"remount,size={size}", str(place))
    else:
        used = found.f_files - found.f_ffree
        _mount("-o", f"remount,nr_inodes={used + rng.randint(1, 2 * ref.changes)}", str(place))


def _write_read_only(job: Job, store: str) -> None:
    """In a child: write through a store that is opened for reading."""
    from zarr.storage import LocalStore

    stores.write(job, LocalStore(store, read_only=True))


def _read_only(job: Job, ref: Reference, folder: Path) -> tuple[str, list[str]]:
    """Write into a place that can only be read: an error, and nothing has changed."""
    real, view = folder / "real", folder / "view"
    stores.lay_out(real / "store", ref.before)
    real.mkdir(exist_ok=True)
    with _mounted(view, "--bind", str(real)) as mounted:
        way = "read-only mount" if mounted else "read-only store"
        if mounted and not _mount("-o", "remount,ro,bind", str(view)):
            raise OSError(errno.EPERM, "cannot make a bind mount read-only", str(view))
        if mounted:
            outcome = call(stores.write, job, str(view / "store"))
        else:
            outcome = call(_write_read_only, job, str(real / "store"))
        problems = []
        if not _is_clear(outcome, ("OSError", "ValueError")):
            problems.append(f"{way}: unclear: {outcome.brief} {outcome.trace}")
        if stores.difference(real / "store", ref.before):
            problems.append(f"{way}: the store was changed")
        if ref.before:
            sound = call(_settled, str((view if mounted else real) / "store"))
            if sound.status != "ok" or sound.value:
                problems.append(f"{way}: reading: {sound.value or sound.brief} {sound.trace}")
    return f"{way}: {outcome.error}", problems


def run_disks(cases: int = 50, seed: int = 0) -> dict[str, Any]:
    """Write to full disks and to read-only places.

    Parameters
    ----------
    cases : int
        Writes that failed for want of room; one in five more for read-only places.
    seed : int
        Of the room left.

    Returns
    -------
    dict
        Ends and failures.
    """
    actions = ("new", "append", "region", "replace")
    jobs = [replace(job, action=a) for a in actions for job in (_LOSSLESS, _COMPRESSED)]
    ways = ("small disk", "limit", "refusal")
    ended: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    start = time.perf_counter()
    with stores.work_folder() as folder:
        known = _Known(folder)
        case, full, locked = 0, 0, 0
        while full < cases and case < 5 * cases:
            rng = random.Random(f"{seed}/{case}")
            job = jobs[case % len(jobs)]
            ref = known.reference(job)
            if ref.trouble:
                end, problems = "no reference", [ref.trouble]
            elif case % 6 == 5:
                end, problems = _read_only(job, ref, folder)
                locked += 1
            else:
                end, problems = _disk(job, ref, folder, rng.choice(ways), rng)
                full += bool(end)
            ended[end or "there was room"] += 1
            if problems:
                failures.append({"case": case, "job": job.name, "problems": problems})
            case += 1
    return {
        "full_disks": full,
        "read_only": locked,
        "ends": dict(sorted(ended.items())),
        "seconds_per_case": round((time.perf_counter() - start) / max(case, 1), 3),
        "failures": failures,
    }
