"""How far a local cluster is: its scheduler lives in this process and tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin

__all__ = ["watch"]

_BEFORE = ("waiting", "queued", "no-worker", "processing")


class _Counter(SchedulerPlugin):
    """Counts tasks that are wanted and done; those of lost workers are wanted again."""

    name = "xphys-progress"

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell = tell
        self._wanted = self._done = 0

    def transition(
        self, key: Any, start: str, finish: str, *args: Any, stimulus_id: str, **kwargs: Any
    ) -> None:
        if start == "released" and finish in _BEFORE:
            self._wanted += 1
        elif start in _BEFORE and finish in ("released", "forgotten"):
            self._wanted -= 1
        elif start == "processing" and finish == "memory":
            self._done += 1
            self._tell(self._done, self._wanted)


def watch(client: Client, tell: Callable[[int, int], None]) -> Callable[[], None]:
    """Be told how many tasks are done, and how many there are, while a local cluster works.

    Parameters
    ----------
    client : Client
        With a cluster of its own, started by this process.
    tell : callable
        (done, total) -> None, called in the thread of the scheduler.

    Returns
    -------
    callable
        Ends it.
    """
    cluster: Any = client.cluster
    scheduler = cluster.scheduler
    scheduler.add_plugin(_Counter(tell))
    return lambda: scheduler.remove_plugin(_Counter.name)
