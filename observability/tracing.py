"""Spans for OpenTelemetry: of handshakes, commits, filled gaps, requests and jobs. Never of a delivery.

A span costs 7 to 32 us, a delivery 3: so a guard of our own decides before the library is asked (0.25 us), and what is
per delivery has none. The exporter is a Trio task with a bounded queue. The library's own thread would hold the
interpreter, and its shutdown waits up to eleven seconds for a collector that is dead, in the middle of a drain.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio

if TYPE_CHECKING:
    import httpx
    from opentelemetry.sdk.trace import ReadableSpan

MOST_WAITING: Final = 2_048
"""Spans. Further ones are dropped and counted: a dead collector costs two megabytes, and no time."""
BATCH: Final = 512
"""This and the queue are as large as in OpenTelemetry's own batch processor."""
PAUSE: Final = 1.0
"""Seconds between two exports."""
DEADLINE: Final = 5.0
"""Seconds for one export."""

_log: Final = logging.getLogger("varde.tracing")
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()
_tracing: "Tracing | None" = None


def span(name: str, **counts: int) -> AbstractContextManager[object]:
    """Measure a block as a span, if tracing is on and this one is in the sample. Attributes are counts, never ids."""
    return _NOTHING if _tracing is None else _tracing.start(name, counts)


class Tracing:
    """The sample, the queue of ended spans, and the task that sends them."""

    def __init__(self, url: str, *, program: str, one_in: int) -> None:
        """Send to `url`, an OTLP/HTTP endpoint such as http://127.0.0.1:4318/v1/traces. Raises ImportError."""
        from opentelemetry import trace  # noqa: PLC0415 - an extra, which only who traces has installed
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider  # noqa: PLC0415

        waiting = self._waiting = deque["ReadableSpan"]()
        self._url, self._one_in, self._turns = url, one_in, count()
        self.dropped = self.exported = self.failed = 0
        tracing = self

        class Queue(SpanProcessor):
            def on_end(self, span: "ReadableSpan") -> None:
                if len(waiting) < MOST_WAITING:
                    waiting.append(span)
                else:
                    tracing.dropped += 1

        # Not Resource.create(): it reads the environment, and with it whatever somebody put there.
        provider = TracerProvider(resource=Resource({"service.name": f"varde-{program}"}), shutdown_on_exit=False)
        provider.add_span_processor(Queue())
        self._tracer: Any = provider.get_tracer("varde")
        self._current: Any = trace.get_current_span
        self._encode: Any = encode_spans

    def start(self, name: str, counts: Mapping[str, int]) -> AbstractContextManager[object]:
        """Begin a span when its parent is one, or when it is the turn of this one."""
        if self._current().is_recording() or next(self._turns) % self._one_in == 0:
            # An exception's text may hold what a peer sent.
            started: AbstractContextManager[object] = self._tracer.start_as_current_span(
                name, attributes=dict(counts), record_exception=False, set_status_on_exception=False
            )
            return started
        return _NOTHING

    async def run(self) -> NoReturn:
        """Send what has ended, for as long as the program lives. What waits when it is cancelled is lost."""
        import httpx  # noqa: PLC0415 - a tenth of the time that a server takes to start, for which who does not trace waits

        global _tracing  # noqa: PLW0603 - a process has one destination, as it has one log
        _tracing = self
        try:
            async with httpx.AsyncClient(timeout=DEADLINE) as client:
                while True:
                    await trio.sleep(PAUSE)
                    while self._waiting:
                        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                        await self._export(client, batch)
        finally:
            _tracing = None

    async def _export(self, client: "httpx.AsyncClient", batch: Sequence["ReadableSpan"]) -> None:
        import httpx  # noqa: PLC0415 - as above

        body = self._encode(batch).SerializeToString()
        try:
            answer = await client.post(self._url, content=body, headers={"Content-Type": "application/x-protobuf"})
            answer.raise_for_status()
        except httpx.HTTPError as error:
            self.failed += len(batch)
            if self.failed == len(batch):  # once, and not each second while the collector is away
                _log.warning("the collector takes no spans: %s", type(error).__name__)
        else:
            self.exported += len(batch)
            self.failed = 0
