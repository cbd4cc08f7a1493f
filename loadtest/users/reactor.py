"""Readiness of all sockets of a worker: one epoll, which gevent's loop waits for as one descriptor."""

import select
import sys
import time
from typing import Final, Protocol

from gevent import get_hub, monkey

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
HANGUP: Final = select.EPOLLRDHUP
EVENTS: Final = 256
"""Served in one pass; then greenlets get their turn, such as the one that sends on time."""
_LOOP_READ: Final = 1

_open_epoll: Final = monkey.get_original("select", "epoll")
"""Monkey-patching takes epoll away, so that nobody blocks in it. Here nobody does: it is asked when it is ready."""


class Ready(Protocol):
    """What a socket belongs to. `on_event` runs in the hub: it must not wait."""

    def on_event(self, mask: int) -> None:
        """The socket is ready for what the mask says."""

    def cut(self, word: str) -> None:
        """Let go of the socket."""


class Reactor:
    """Tells lines that their sockets are ready. Close it."""

    def __init__(self) -> None:
        self._epoll = _open_epoll()
        self._lines: dict[int, Ready] = {}
        self.now = time.monotonic()
        """Seconds, read once a pass and by whoever keeps time."""
        self._watcher = get_hub().loop.io(self._epoll.fileno(), _LOOP_READ)
        self._watcher.start(self._turn)

    def add(self, file: int, line: Ready, mask: int) -> None:
        """Watch a descriptor."""
        self._epoll.register(file, mask)
        self._lines[file] = line

    def change(self, file: int, mask: int) -> None:
        """Watch it for something else. Errors and the end of both directions are always told."""
        self._epoll.modify(file, mask)

    def remove(self, file: int) -> None:
        """Forget it, before it is closed."""
        del self._lines[file]
        self._epoll.unregister(file)

    def aclose(self) -> None:
        """Stop watching. Lines are to be closed before."""
        self._watcher.stop()
        self._watcher.close()
        self._epoll.close()

    def _turn(self) -> None:
        self.now = time.monotonic()
        lines = self._lines
        for file, mask in self._epoll.poll(0, EVENTS):
            line = lines.get(file)  # None: closed earlier in this pass
            if line is None:
                continue
            try:
                line.on_event(mask)
            except Exception:  # noqa: BLE001 - a bug of ours must not spin for ever on a socket that stays ready
                get_hub().handle_error(self, *sys.exc_info())
                line.cut("generator-fault")
