"""Servers that fail: a proxy spoils requests while stores are read and written through it.

Upstream are Ceph's gateway and nginx where they are installed (tests/servers), else a few words of
S3 in memory. Every case must end in the right values or in an error that names the place; where
only passing faults were put in its way, in the right values.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.torture import _stores as stores
from benchmarks.torture._stores import FIELDS, Job

__all__ = ["run"]

_SCRIPTS = Path(__file__).parents[2] / "tests" / "servers"
_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
_JOBS = tuple(
    Job(kind, scheduler="synchronous", blocks=3) for kind in ("lossless", "compressed", "sharded")
)
_RATES = (0.01, 0.03, 0.1, 0.3)
# What may pass when it is asked again; a body that is cut and says so looks whole to a writer.
_PASSING = ("429", "500", "503", "reset", "short", "lost")
_PERMANENT = ("403", "404")
# Waits are kept short: the default policy with its times divided by ten or more.
_RETRY = {"attempts": 10, "first": 0.005, "longest": 0.2, "seconds": 60.0}
_AFTER = 0.01


@dataclass
class _Server:
    """A script of tests/servers, its facts, and what a proxy among them has counted."""

    name: str
    args: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def running(self) -> Iterator[_Server]:
        command = [sys.executable, str(_SCRIPTS / f"{self.name}.py"), *self.args]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            assert process.stdout is not None
            self.facts = json.loads(process.stdout.readline())
            try:
                yield self
            finally:
                process.communicate()

    @property
    def endpoint(self) -> str:
        return str(self.facts["endpoint"])

    def faults(self, **wanted: Any) -> dict[str, Any]:
        """Tell a proxy what to spoil; what it had counted before."""
        with urllib.request.urlopen(f"{self.endpoint}/_faults", timeout=60) as answer:
            counted = dict(json.load(answer))
        data = json.dumps({"retry_after": _AFTER, **wanted}).encode()
        with urllib.request.urlopen(f"{self.endpoint}/_faults", data, timeout=60):
            return counted


@dataclass
class _Place:
    """Where stores lie: options of the way through the proxy and of the direct one."""

    name: str
    proxy: _Server
    options: dict[str, Any]
    direct: dict[str, Any]
    prefix: str

    def url(self, job: Job) -> str:
        return f"{self.prefix}/{job.kind}.zarr"


@dataclass
class _Tally:
    requests: Counter[str] = field(default_factory=Counter)
    spoiled: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def count(self, place: _Place, counted: dict[str, Any]) -> None:
        self.requests[place.name] += counted["requests"]
        self.spoiled.update(counted["spoiled"])

    @property
    def total(self) -> int:
        return sum(self.requests.values())


def run(requests: int, seed: int, wanted: tuple[str, ...] = ("radosgw", "nginx")) -> dict[str, Any]:
    """Read and write until so many requests have gone through a proxy.

    Parameters
    ----------
    requests : int
        In all.
    seed : int
        Of cases and faults.
    wanted : tuple of str
        Servers to use if they are installed; none of them: the one in memory.

    Returns
    -------
    dict
        Requests by place, faults by kind, outcomes, and failures, of which there should be none.
    """
    rng = random.Random(seed)
    tally = _Tally()
    with _places(wanted) as (places, upstream), stores.work_folder() as folder:
        values = {job: _reference(job, folder) for job in _JOBS}
        for place in places:
            place.proxy.faults()
            if place.options.get("key") or place.name == "memory":
                for job in _JOBS:
                    stores.write(job, place.url(job), storage_options=place.direct)
        began = time.perf_counter()
        number = 0
        while tally.total < requests:
            number += 1
            place, job = rng.choice(places), rng.choice(_JOBS)
            writes = place.name in ("s3 signed", "memory") and rng.random() < 0.15
            rate, lasting = rng.choice(_RATES), rng.random() < 0.4
            kinds = (*_PASSING, *(("403",) if writes else (*_PERMANENT, "cut")))
            kinds = kinds if lasting else tuple(k for k in kinds if k not in _PERMANENT)
            fault = {"rate": rate, "kinds": kinds, "seed": rng.randrange(2**32)}
            case = {"case": number, "place": place.name, "job": job.kind, **fault}
            act = _write if writes else _read
            outcome, message = act(place, job, values[job], fault)
            _judge(tally, place, case, outcome, message)
        seconds = time.perf_counter() - began
    return {
        "servers": upstream,
        "requests": tally.total,
        "cases": number,
        "requests_per_second": round(tally.total / seconds),
        "requests_by_place": dict(sorted(tally.requests.items())),
        "faults": dict(sorted(tally.spoiled.items())),
        "outcomes": dict(sorted(tally.outcomes.items())),
        "silent_errors": sum(f["outcome"] == "wrong values" for f in tally.failures),
        "failures": tally.failures,
    }


def _judge(tally: _Tally, place: _Place, case: dict[str, Any], outcome: str, message: str) -> None:
    counted = place.proxy.faults()
    tally.count(place, counted)
    spoiled = counted["spoiled"]
    permanent = sum(spoiled.get(kind, 0) for kind in _PERMANENT)
    if outcome == "right values":
        what = "right, nothing spoiled" if not spoiled else "right, after faults that passed"
        tally.outcomes[what if not permanent else "right, besides refusals"] += 1
        return
    named = permanent > 0 and outcome.startswith("error") and "://" in message
    named |= permanent > 0 and outcome.startswith("error CorruptDataError")
    tally.outcomes[f"{outcome}, permanent" if named else outcome] += 1
    if not named:
        lines = counted["lines"][-5:]
        tally.failures.append(
            {**case, "outcome": outcome, "message": message, "spoiled": spoiled, "lines": lines}
        )


def _reference(job: Job, folder: Path) -> xr.Dataset:
    path = folder / f"{job.kind}.zarr"
    stores.write(job, str(path))
    return stores.load(str(path))


def _read(place: _Place, job: Job, values: xr.Dataset, fault: dict[str, Any]) -> tuple[str, str]:
    """Open and read everything, or one part, through the proxy."""
    place.proxy.faults(**fault)
    import xphys

    def act() -> bool:
        with stores.scheduled("synchronous"):
            ds = xphys.open(place.url(job), storage_options=place.options)
            part = {"time": slice(2, 7)} if fault["seed"] % 2 else {}
            found, wanted = ds.isel(part).load(), values.isel(part)
        return all(np.array_equal(found[n].values, wanted[n].values) for n in (*FIELDS, "time"))

    return _outcome(act)


def _write(place: _Place, job: Job, values: xr.Dataset, fault: dict[str, Any]) -> tuple[str, str]:
    """Replace a store through the proxy; where that fails the same code must finish it."""
    options = {"storage_options": place.options, "mode": "w"}
    place.proxy.faults(**fault)
    outcome, message = _outcome(lambda: stores.write(job, place.url(job), **options) is None)
    if outcome != "right values":
        # the count of this case goes on: what follows is not spoiled
        spoiled = {"rate": 0.0, "seed": 0}
        counted = place.proxy.faults(**spoiled)
        finished, why = _outcome(
            lambda: (
                stores.write(job, place.url(job), **{**options, "storage_options": place.direct})
                is None
            )
        )
        _restore(place, counted)
        if finished != "right values":
            return f"not resumed: {finished}", why
    with stores.scheduled("synchronous"):
        found = stores.load(place.url(job), storage_options=place.direct)
    if not all(np.array_equal(found[n].values, values[n].values) for n in FIELDS):
        return "wrong values", ""
    return outcome, message


def _restore(place: _Place, counted: dict[str, Any]) -> None:
    """Let the proxy say what it had counted before a part that is not to count."""
    place.proxy.faults(count=counted)


def _outcome(act: Any) -> tuple[str, str]:
    from xphys.errors import XphysError

    try:
        right = act()
    except (XphysError, FileNotFoundError) as error:
        return f"error {type(error).__name__}", " ".join(str(error).split())[:300]
    except Exception as error:  # anything else is a failure
        return f"unclear {type(error).__name__}", " ".join(str(error).split())[:300]
    return "right values" if right else "wrong values", ""


@contextlib.contextmanager
def _places(wanted: tuple[str, ...]) -> Iterator[tuple[list[_Place], list[str]]]:
    """The ways to the stores that there are on this machine."""
    with contextlib.ExitStack() as stack:

        def start(name: str, *args: str) -> _Server:
            return stack.enter_context(_Server(name, args).running())

        def through(server: _Server) -> _Server:
            return start("faults", server.endpoint.partition("//")[2])

        places, used = [], []
        if "radosgw" in wanted and shutil.which("radosgw", path=_PATH):
            used.append("radosgw")
            places += _gateway(start("radosgw"), through)
        if "nginx" in wanted and shutil.which("nginx", path=_PATH):
            used.append("nginx")
            root = stack.enter_context(stores.work_folder())
            root.chmod(0o755)
            for job in _JOBS:
                stores.write(job, str(root / f"{job.kind}.zarr"))
            proxy = through(start("nginx", str(root)))
            options = {"retry": _RETRY}
            places.append(_Place("http", proxy, options, {}, proxy.endpoint))
        if not places:
            used.append("memory")
            server = start("objects")
            proxy = through(server)
            direct = {"anon": True, "endpoint_url": server.endpoint}
            options = {"anon": True, "endpoint_url": proxy.endpoint, "retry": _RETRY}
            places.append(_Place("memory", proxy, options, direct, "s3://runs/torture"))
            place = f"{proxy.endpoint}/runs/torture"
            places.append(_Place("http", proxy, {"retry": _RETRY}, {}, place))
        yield places, used


def _gateway(server: _Server, through: Any) -> list[_Place]:
    import s3fs

    keys = {"key": server.facts["key"], "secret": server.facts["secret"]}
    direct = {**keys, "endpoint_url": server.endpoint}
    system = s3fs.S3FileSystem(**direct)
    system.mkdir("runs")
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["s3:GetObject"],
                "Resource": ["arn:aws:s3:::runs/*"],
            }
        ],
    }
    system.call_s3("put_bucket_policy", Bucket="runs", Policy=json.dumps(policy))
    proxy = through(server)
    signed = {**keys, "endpoint_url": proxy.endpoint, "retry": _RETRY}
    anonymous = {"anon": True, "endpoint_url": proxy.endpoint, "retry": _RETRY}
    prefix = "s3://runs/torture"
    return [
        _Place("s3 signed", proxy, signed, direct, prefix),
        _Place("s3 anonymous", proxy, anonymous, direct, prefix),
    ]
