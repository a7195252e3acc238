"""The torture of benchmarks/torture with small counts; `make torture` runs it in full.

Each part runs in an interpreter of its own: it forks, which a process with threads must not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def torture(folder: Path, part: str, *options: str) -> dict[str, Any]:
    """Run a part and return its report."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.torture", "--only", part]
    done = subprocess.run(
        [*command, *options, "--results", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "torture.json").exists(), done.stderr
    assert part in (folder / "torture.md").read_text()
    return json.loads((folder / "torture.json").read_text())["parts"][part]


def test_killed_writers_leave_nothing_wrong_and_lose_nothing(tmp_path):
    report = torture(tmp_path, "kill", "--kills", "40", "--blocks", "6")
    assert report["failures"] == []
    assert report["kills"] >= 40
    assert report["finished_chunks_when_resuming"] > 0
    assert report["refusals"]["UnfinishedStoreError"] > 0


def test_damage_is_noticed(tmp_path):
    options = ("--flips", "1600", "--mutations", "400", "--damage", "3", "--workers", "1")
    report = torture(tmp_path, "flips", *options)
    for part, count in (("flips", 1600), ("mutations", 400)):
        assert report[part]["failures"] == []
        assert report[part]["cases"] == count
        assert any("CorruptDataError" in outcome for outcome in report[part]["outcomes"])


def test_racing_writers_leave_one_result(tmp_path):
    report = torture(tmp_path, "races", "--races", "10")
    assert report["failures"] == []
    assert any("StoreConflictError" in end for ends in report["ends"].values() for end in ends)


def test_full_disks_and_read_only_places_give_clear_errors(tmp_path):
    report = torture(tmp_path, "disk", "--disk", "10")
    assert report["failures"] == []
    assert report["full_disks"] == 10
    assert report["read_only"] >= 1


def test_servers_that_fail_give_no_wrong_values(tmp_path):
    pytest.importorskip("s3fs")
    report = torture(tmp_path, "cloud", "--requests", "400", "--servers")
    assert report["failures"] == []
    assert report["silent_errors"] == 0
    assert report["requests"] >= 400
    assert sum(report["faults"].values()) > 10


def test_malformed_files_give_one_clear_error(tmp_path):
    report = torture(tmp_path, "malformed", "--malformed", "17", "--share", "0.06")
    check_malformed(report, 17)


@pytest.mark.slow
def test_more_malformed_files(tmp_path):
    report = torture(tmp_path, "malformed", "--malformed", "200", "--share", "0.05", "--seed", "1")
    check_malformed(report, 200)


def check_malformed(report: dict[str, Any], cases: int) -> None:
    from xphys.io._formats import READERS

    assert set(report) >= {reader.name for reader in READERS} - {"icechunk"}
    for name, found in report.items():
        assert found["failures"] == [], name
        assert sum(found["direct"].values()) == found["cases"] == cases
        errors = sum(n for what, n in found["direct"].items() if "Error" in what)
        assert errors >= cases / 4, name


@pytest.mark.parametrize("kind", ["lossless", "compressed"])
def test_equal_runs_give_equal_bytes(tmp_path, kind, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.torture import _stores as stores

    job = stores.Job(kind, scheduler="synchronous", blocks=2)
    for name in ("a", "b"):
        stores.write(job, str(tmp_path / name))
    wanted = stores.files(tmp_path / "a")
    assert len(wanted) > 10
    assert stores.difference(tmp_path / "b", wanted) == ""
    (tmp_path / "b" / "zarr.json").write_bytes(b"{}")
    assert stores.difference(tmp_path / "b", wanted) == "other bytes ['zarr.json']"


def test_changed_bytes_of_chunks_are_refused_or_decode(tmp_path):
    methods = ("lossless", "transform", "bitround")
    report = torture(tmp_path, "codecs", "--decoded", "400", "--methods", *methods)
    for name in methods:
        assert report[name]["failures"] == []
        assert report[name]["outcomes"]["CorruptDataError"] > 100


def test_bounds_hold_on_adversarial_values(tmp_path):
    report = torture(tmp_path, "bounds", "--values", "300000", "--no-patterns")
    for part, values in (("float32", 300_000), ("float64", 30_000)):
        assert report[part]["failures"] == []
        assert report[part]["values"] >= values
