"""Results of runs that nobody made, to be judged."""

from typing import Any

import msgspec

from loadtest.exits import Verdict
from loadtest.report.result import Generator, Latencies, Latency, Messages, Rate, Result, Sample, StageFigures, Users


def good(**changes: Any) -> Result:
    """A smoke run that met everything, with whatever is changed."""
    latency = Latency(count=1000, p50=3.0, p95=8.0, p99=15.0, p999=20.0, max=30.0)
    result = Result(
        verdict=Verdict.MET,
        scenario="smoke",
        started="2026-11-23T12:00:00Z",
        seconds=30,
        users=Users(asked=100, connected=100, peak=100, connects=100),
        rate=Rate(target_per_second=50, achieved_per_second=50),
        latency_ms=Latencies(send_to_ack=latency, send_to_receive=latency, connect=latency),
        messages=Messages(sent=1000, acked=1000, due=1000, received=1000),
        generator=Generator(cpu_max_percent=40),
    )
    return msgspec.structs.replace(result, **changes)


def stage(name: str, began_s: float, **changes: Any) -> StageFigures:
    """Ten judged seconds at 100 messages a second, all of them sent, with whatever is changed."""
    latency = Latency(count=1000, p50=3.0, p95=8.0, p99=15.0, p999=20.0, max=30.0)
    figures = StageFigures(
        name=name,
        began_s=began_s,
        seconds=10,
        judged=True,
        users=100,
        messages_per_second=100,
        requests_per_second=0,
        target_per_second=100,
        latency_ms=Latencies(send_to_receive=latency),
    )
    return msgspec.structs.replace(figures, **changes)


def sample(at_s: float, stage: str = "hold", **changes: Any) -> Sample:
    """One second with 100 people there."""
    figures = Sample(
        at_s=at_s,
        stage=stage,
        users=100,
        connected=100,
        sent_per_second=10,
        received_per_second=10,
        p50_ms=1,
        p99_ms=2,
        generator_cpu_percent=10,
    )
    return msgspec.structs.replace(figures, **changes)
