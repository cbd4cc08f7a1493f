"""Looks at the servers once a second, beside the run."""

from typing import Final

import gevent

from loadtest.stack.stack import Stack
from loadtest.watch.processes import Watch

_SECOND: Final = 1.0


class Lookout:
    """Over a stack of ours. Of a system elsewhere nothing is seen."""

    def __init__(self, stack: Stack | None) -> None:
        self.seen: dict[str, float] = {}
        self._stack = stack
        self._pids: dict[str, int] = {}
        self._watching: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin to look."""
        self.stop()
        if self._stack is not None:
            self._watching = gevent.spawn(self._watch, self._stack)

    def stop(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.kill()
            self._watching = None

    def fallen(self) -> list[str]:
        """Return the programs that ended without being asked to."""
        return [] if self._stack is None else self._stack.dead()

    def _watch(self, stack: Stack) -> None:
        watch = Watch(self._pids, stack.metrics_urls.values())
        while True:
            self._pids.update(stack.pids)  # a node that was killed comes back as another process
            self.seen = watch.sample()
            gevent.sleep(_SECOND)
