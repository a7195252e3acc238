"""A real S3 server on the loop-back: Ceph with one monitor, one OSD and its gateway.

``python tests/servers/radosgw.py`` prints one line of JSON (``endpoint``, ``key``, ``secret``,
``seconds``) when it is ready and stops when its standard input ends. All data lie in a temporary
folder that is removed at the end. Needs Debian's ceph-mon, ceph-osd, radosgw and ceph-common.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _process import HOST, free_ports, launch, serve_until_eof, stop, wait_for_http

__all__ = ["PROGRAMS", "missing", "radosgw"]

PROGRAMS = (
    "ceph-mon",
    "ceph-osd",
    "radosgw",
    "radosgw-admin",
    "ceph",
    "ceph-authtool",
    "monmaptool",
)
_CONF = """[global]
fsid = {fsid}
mon host = [v2:{host}:{mon}]
mon initial members = a
public addr = {host}
cluster addr = {host}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {folder}/$type.$id.keyring
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd crush update on start = true
mon allow pool size one = true
mon max pg per osd = 500
osd objectstore = bluestore
bluestore block size = {size}
osd memory target = 939524096
osd class load list = *
osd class default list = *

[mon.a]
mon data = {folder}/mon

[osd.0]
osd data = {folder}/osd

[client.rgw]
rgw frontends = beast endpoint={host}:{port}
rgw enable usage log = false
rgw thread pool size = 64
rgw gc max objs = 1
"""


def missing() -> list[str]:
    """Programs that are not installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout


def _monitor(folder: Path, conf: str, fsid: str, port: int) -> None:
    make = ("ceph-authtool", "--create-keyring")
    every = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
    monitor, admin = folder / "mon.a.keyring", folder / "client.admin.keyring"
    _run(*make, str(monitor), "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    _run(*make, str(admin), "--gen-key", "-n", "client.admin", *every)
    gateway = folder / "client.rgw.keyring"
    _run(*make, str(gateway), "--gen-key", "-n", "client.rgw", *every[:6])
    osd = folder / "osd.0.keyring"
    _run(*make, str(osd), "--gen-key", "-n", "osd.0", *every[:6])
    for other in (admin, gateway, osd):
        _run("ceph-authtool", str(monitor), "--import-keyring", str(other))
    place = ("--create", "--clobber", "--fsid", fsid, "--addv", "a", f"[v2:{HOST}:{port}]")
    _run("monmaptool", *place, str(folder / "monmap"))
    files = ("--monmap", str(folder / "monmap"), "--keyring", str(monitor))
    _run("ceph-mon", "--mkfs", "-i", "a", "-c", conf, *files)


@contextmanager
def radosgw() -> Iterator[dict[str, Any]]:
    """Start the server, with one user and no bucket.

    Yields
    ------
    dict
        ``endpoint``, ``key``, ``secret``, and ``seconds`` until it was ready.
    """
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="xphys-radosgw-"))
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    children: list[subprocess.Popen[bytes]] = []
    try:
        mon, port = free_ports(2)
        conf = str(folder / "ceph.conf")
        cluster = str(uuid.uuid4())
        text = _CONF.format(
            fsid=cluster, host=HOST, mon=mon, port=port, folder=folder, size=8 << 30
        )
        Path(conf).write_text(text)
        for name in ("mon", "osd"):
            (folder / name).mkdir()
        _monitor(folder, conf, cluster, mon)
        log = folder / "output.log"
        children.append(launch(["ceph-mon", "-f", "-i", "a", "-c", conf], log))
        fsid = str(uuid.uuid4())
        _run("ceph", "-c", conf, "--connect-timeout", "60", "osd", "new", fsid, "0")
        _run("ceph-osd", "-i", "0", "-c", conf, "--mkfs", "--osd-uuid", fsid)
        children.append(launch(["ceph-osd", "-f", "-i", "0", "-c", conf], log))
        children.append(launch(["radosgw", "-f", "-n", "client.rgw", "-c", conf], log))
        endpoint = f"http://{HOST}:{port}"
        wait_for_http(endpoint, children[-1], log, 180)
        key, secret = secrets.token_hex(10), secrets.token_hex(20)
        user = ("user", "create", "--uid=xphys", "--display-name=xphys")
        keys = (f"--access-key={key}", f"--secret-key={secret}")
        _run("radosgw-admin", "-c", conf, "-n", "client.rgw", *user, *keys)
        seconds = round(time.monotonic() - began, 1)
        yield {"endpoint": endpoint, "key": key, "secret": secret, "seconds": seconds}
    finally:
        stop(children)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    with radosgw() as facts:
        serve_until_eof(facts)
