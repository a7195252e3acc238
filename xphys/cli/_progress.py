"""A progress bar on stderr for whatever Dask computes, once it takes two seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from dask.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["ProgressBar"]


class ProgressBar(Callback):  # type: ignore[misc]
    """Context manager that shows how many tasks are done, over all Dask graphs that run in it.

    Parameters
    ----------
    label : str
        Word before the bar.
    delay : float, default 2.0
        Seconds after which a bar appears; shorter work shows none.
    console : rich.console.Console, optional
        Where to draw; stderr by default, and there only on a terminal.
    client : distributed.Client, optional
        Of a local cluster that computes in place of the threads of this process.
    """

    def __init__(
        self,
        label: str,
        *,
        delay: float = 2.0,
        console: Console | None = None,
        client: Any = None,
    ) -> None:
        super().__init__()
        self._label = label
        self._delay = delay
        self._console = console if console is not None else Console(stderr=True)
        self._client = client
        self._begun: float | None = None
        self._before = 0  # tasks of graphs that are done
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._lock = threading.Lock()  # a cluster tells from another thread
        self._leave: Callable[[], None] | None = None

    def __enter__(self) -> ProgressBar:
        super().__enter__()
        if self._client is not None:
            from xphys.cli._cluster import watch  # imports distributed

            self._begun = time.monotonic()
            self._leave = watch(self._client, self._show)
        return self

    def _start_state(self, dsk: Any, state: Mapping[str, Any]) -> None:
        if self._begun is None:
            self._begun = time.monotonic()

    def _pretask(self, key: Any, dsk: Any, state: Mapping[str, Any]) -> None:
        self._update(state)

    def _posttask(
        self, key: Any, result: Any, dsk: Any, state: Mapping[str, Any], worker_id: Any
    ) -> None:
        self._update(state)

    def _finish(self, dsk: Any, state: Mapping[str, Any], errored: bool) -> None:
        self._before += len(state["finished"])

    def __exit__(self, *args: object) -> None:
        super().__exit__(*args)
        if self._leave is not None:
            self._leave()
        with self._lock:
            if self._progress is not None:
                self._progress.stop()
            self._progress = self._task = self._begun = self._leave = None
            self._before = 0

    def _update(self, state: Mapping[str, Any]) -> None:
        done = self._before + len(state["finished"])
        self._show(done, done + sum(len(state[kind]) for kind in ("ready", "waiting", "running")))

    def _show(self, done: int, total: int) -> None:
        if not self._console.is_terminal:
            return
        with self._lock:
            if self._begun is None or time.monotonic() - self._begun < self._delay:
                return
            if self._progress is None or self._task is None:
                columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
                self._progress = Progress(*columns, console=self._console, transient=True)
                self._task = self._progress.add_task(self._label, total=total)
                self._progress.start()
            self._progress.update(self._task, completed=done, total=total)
