"""The line that a run shows each second."""

import sys
from typing import Final, TextIO

from loadtest.ledger.reports import Tick
from loadtest.scenarios.plan import Kind, Plan, Stage

_CLEAR: Final = "\r\x1b[2K"


class Progress:
    """Writes over its own line on a terminal, and line by line elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._rewrites = self._stream.isatty()
        self._open = False

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self._stream.write((_CLEAR if self._open else "") + text + "\n")
        self._stream.flush()
        self._open = False

    def show(self, text: str) -> None:
        """Write a line that the next one may replace."""
        self._stream.write(_CLEAR + text if self._rewrites else text + "\n")
        self._stream.flush()
        self._open = self._rewrites


def line_of(plan: Plan, index: int, passed_s: float, connected: int, second: Tick, so_far: Tick, cpu: float) -> str:
    """Return how it goes: `second` is what happened just now, `so_far` what happened in this stage."""
    stage = plan.stages[index]
    latency = so_far.request if plan.kind is Kind.REST else so_far.receive
    p50, p99 = ("-" if ms is None else f"{ms:.1f} ms" for ms in latency.percentiles_ms((50.0, 99.0)))
    return "  ".join(
        (
            f"[{plan.scenario} {index + 1}/{len(plan.stages)} {stage.name} {passed_s:3.0f}/{stage.seconds:.0f} s]",
            f"users {connected:,}/{stage.users:,}",
            *_rates(plan.kind, stage, second),
            f"p50 {p50}  p99 {p99}",
            f"generator {cpu:.0f} %",
        )
    )


def _rates(kind: Kind, stage: Stage, second: Tick) -> tuple[str, ...]:
    if kind is Kind.REST:
        failed = f"  failed {second.failures:,}" if second.failures else ""
        return (f"requests {second.requests:,}/s of {stage.requests_per_second:,.0f}{failed}",)
    failed = f"  no connection {second.failed:,}" if second.failed else ""
    sent = f"sent {second.sent:,}/s of {stage.messages_per_second:,.0f}"
    return sent, f"received {second.received:,}/s{failed}"
