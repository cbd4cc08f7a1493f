"""Spans: what is sampled reaches a collector, and a collector that is dead, slow or angry holds up nothing."""

from functools import partial

import httpx
import pytest
import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from trio.testing import MockClock

from observability.tracing import MOST_WAITING, PAUSE, Tracing, span

URL = "http://collector.test/v1/traces"


class Collector:
    """An OTLP collector in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: int = 200) -> None:
        self.names: list[str] = []
        self.bodies: list[bytes] = []
        self.status = status
        transport = httpx.MockTransport(self.answer)
        monkeypatch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, transport=transport))

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Take spans."""
        self.bodies.append(request.content)
        batch = ExportTraceServiceRequest.FromString(request.content)
        self.names += [
            each.name for spans in batch.resource_spans for scope in spans.scope_spans for each in scope.spans
        ]
        return httpx.Response(self.status)


async def test_spans_reach_the_collector(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """One in so many, with all that happens inside; an error ends its span and says nothing of itself."""
    collector, traced = Collector(monkeypatch), Tracing(URL, program="relay", one_in=10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(traced.run)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(20):
            with span("commit", messages=3):
                if number == 10:
                    with span("inner"):
                        await trio.lowlevel.checkpoint()
        with pytest.raises(KeyError), span("commit"):  # the 21st: its turn
            raise KeyError("a secret")
        await trio.sleep(2 * PAUSE)  # for exports, in time that jumps
        nursery.cancel_scope.cancel()
    assert sorted(collector.names) == ["commit"] * 3 + ["inner"]
    assert all(b"secret" not in body for body in collector.bodies)
    assert span("commit") is span("other")  # tracing is off again


async def test_a_collector_that_is_away_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    """What it does not take is dropped, the queue is bounded, and the log says so once."""
    collector, traced = Collector(monkeypatch, status=503), Tracing(URL, program="relay", one_in=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(traced.run)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(MOST_WAITING + 5):
            with span("commit"):
                pass
        assert traced.dropped == 5
        await trio.sleep(3 * PAUSE)  # for exports, in time that jumps
        with span("commit"):
            pass
        await trio.sleep(3 * PAUSE)  # for exports, in time that jumps
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == began
    assert traced.failed == MOST_WAITING + 1
    assert caplog.text.count("takes no spans") == 1
    assert len(collector.bodies) > 1
