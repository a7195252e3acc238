"""The journal of local stores: entries appended to one file for each process."""

from __future__ import annotations

import os
import resource
import signal
import threading

import pytest

from xphys.errors import StoreConflictError
from xphys.io._log import Log, entries, forget, log_of


def test_entries_come_back_in_order(tmp_path):
    log = Log(tmp_path)
    notes = [(f"u/c/{n}", bytes([n]) * n) for n in range(50)]
    for key, data in notes:
        log.append(key, data)
    log.close()
    assert list(entries(log.path.read_bytes())) == notes


def test_an_entry_that_was_cut_off_is_left_aside(tmp_path):
    log = Log(tmp_path)
    log.append("a", b"first")
    whole = log.path.stat().st_size
    log.append("b", b"second")
    log.close()
    data = log.path.read_bytes()
    for end in range(whole, len(data)):
        assert list(entries(data[:end])) == [("a", b"first")]
    for place in range(whole, len(data)):
        broken = bytearray(data)
        broken[place] ^= 4
        assert list(entries(bytes(broken))) == [("a", b"first")]


def test_threads_share_a_log(tmp_path):
    log = Log(tmp_path)

    def work(n: int) -> None:
        for i in range(100):
            log.append(f"{n}/{i}", bytes([n]) * 80)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = dict(entries(log.path.read_bytes()))
    assert found == {f"{n}/{i}": bytes([n]) * 80 for n in range(4) for i in range(100)}


def test_a_log_that_was_removed_takes_no_more(tmp_path):
    log = Log(tmp_path)
    log.path.unlink()
    with pytest.raises(StoreConflictError, match="another run has taken the store"):
        log.append("a", b"x")
    log.close()


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs limits of file size")
def test_a_full_disk_leaves_whole_entries_only(tmp_path):
    log = Log(tmp_path)
    log.append("a", b"x" * 100)
    size = log.path.stat().st_size
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, before[1]))
    try:
        with pytest.raises(OSError, match="no space left"):
            log.append("b", b"y" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    log.append("c", b"z")
    log.close()
    assert list(entries(log.path.read_bytes())) == [("a", b"x" * 100), ("c", b"z")]


def test_each_writer_has_its_own_log(tmp_path):
    folder = tmp_path / "log"
    first = log_of(folder, "one")
    assert log_of(folder, "one") is first
    second = log_of(folder, "two")
    assert second.path != first.path
    assert sorted(os.listdir(folder)) == ["00000000", "00000001"]
    forget(folder)
    assert log_of(folder, "two").path.name == "00000002"
    forget(folder)
