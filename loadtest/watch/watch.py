"""What the server does while a run goes on, once a second."""

import time
from collections.abc import Iterable, Mapping

from loadtest.watch.metrics import Metrics
from loadtest.watch.processes import Processes


class Watch:
    """Processes by name and metrics pages of relay nodes; either may be empty, as where the system is elsewhere.

    In a process that gevent has patched, the scrapes let others run; everything else takes well under a millisecond for
    each process.
    """

    def __init__(self, pids: Mapping[str, int], metrics_urls: Iterable[str]) -> None:
        self._processes = Processes(pids)
        self._metrics = Metrics(metrics_urls)
        self._sampled_at: float | None = None

    def sample(self) -> dict[str, float]:
        """Look once. What cannot be asked is left out; never raises for a server that is away."""
        now = time.monotonic()
        seconds = 0.0 if self._sampled_at is None else now - self._sampled_at
        self._sampled_at = now
        return self._processes.sample() | self._metrics.sample(seconds)
