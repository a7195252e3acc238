"""nginx on the loop-back, serving a folder as it is.

``python tests/servers/nginx.py FOLDER`` prints one line of JSON (``endpoint``) when it is ready
and stops when its standard input ends. Needs Debian's nginx.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _process import HOST, free_ports, launch, serve_until_eof, stop, wait_for_http

__all__ = ["missing", "nginx"]

_CONF = """daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
user {user};
events {{ worker_connections 256; }}
http {{
  access_log off;
  default_type application/octet-stream;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen {host}:{port}; root "{root}"; }}
}}
"""


def missing() -> list[str]:
    """Programs that are not installed."""
    return [] if _program() else ["nginx"]


def _program() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextmanager
def nginx(root: Path) -> Iterator[dict[str, Any]]:
    """Serve a folder.

    Parameters
    ----------
    root : path
        The folder.

    Yields
    ------
    dict
        ``endpoint``.
    """
    program = _program()
    if program is None:
        raise RuntimeError("nginx is not installed")
    folder = Path(tempfile.mkdtemp(prefix="xphys-nginx-"))
    (port,) = free_ports(1)
    user = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
    text = _CONF.format(folder=folder, user=user, host=HOST, port=port, root=root.resolve())
    (folder / "nginx.conf").write_text(text)
    log = folder / "output.log"
    child = launch([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], log)
    try:
        endpoint = f"http://{HOST}:{port}"
        wait_for_http(endpoint, child, log, 20)
        yield {"endpoint": endpoint}
    finally:
        stop([child])
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    with nginx(Path(sys.argv[1])) as facts:
        serve_until_eof(facts)
