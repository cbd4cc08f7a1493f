"""What an ack is worth: messages to people who are away, a server that is killed with SIGKILL, and what they find."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bench.durable.generator import Generator
from bench.durable.ledger import Ledger
from bench.durable.schedule import Due, draw_schedule
from bench.durable.served import Open, Served
from bench.measuring import processes_of

CONNECTIONS: Final = 200
RATE: Final = 1_000
SECONDS: Final = 3.0
DEADLINE: Final = 60.0
_FAREWELL: Final = 2.0
_SETTLING: Final = 8.0
_BEGIN_NS: Final = 20_000_000


def measure_survival(open_server: Open, *, seconds: float = SECONDS) -> dict[str, Any]:
    """Return how many messages were acked before the kill, and how many of those never came. Raises ServerFault."""
    ledger = Ledger(CONNECTIONS)
    with tempfile.TemporaryDirectory(prefix="varde-bench-") as name:
        folder = Path(name)
        with open_server(folder, CONNECTIONS) as served:
            _come_and_go(served, ledger)
            _send_until_killed(served, ledger, seconds)
        with open_server(folder, CONNECTIONS) as served:
            _come_back(served, ledger)
    account = ledger.account()
    return {"sent": account.sent, "acked": account.acked, "lost_after_ack": ledger.lost_after_ack()}


def kill(served: Served) -> None:
    """Kill everything a server runs, as a power cut would, but for what the kernel has of its files."""
    for pid in [each for root in (served.pid, *served.beside.values()) for each in processes_of(root)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _generator(served: Served, ledger: Ledger) -> Generator:
    return Generator(served.address, lambda number: served.dial(number, ledger), ledger)


def _come_and_go(served: Served, ledger: Ledger) -> None:
    """The receivers make themselves known, and leave in good order."""
    generator = _generator(served, ledger)
    try:
        generator.connect(range(1, CONNECTIONS, 2), deadline=DEADLINE)
        generator.leave(_FAREWELL)
    finally:
        generator.close()


def _send_until_killed(served: Served, ledger: Ledger, seconds: float) -> None:
    """The senders send, and go on reading acks for as long as there are any."""
    generator = _generator(served, ledger)
    try:
        generator.connect(range(0, CONNECTIONS, 2), deadline=DEADLINE)
        generator.run(_to_absent(seconds), time.monotonic_ns() + _BEGIN_NS)
        kill(served)
        generator.drain(_SETTLING)
    finally:
        generator.close()


def _to_absent(seconds: float) -> Iterator[Due]:
    return (Due(due.at_ns, 2 * due.sender) for due in draw_schedule(RATE, seconds, CONNECTIONS // 2))


def _come_back(served: Served, ledger: Ledger) -> None:
    """The receivers come back, and read on until everything that was acked is there, or nothing comes any more."""
    generator = _generator(served, ledger)
    try:
        generator.connect(range(1, CONNECTIONS, 2), deadline=DEADLINE)
        end = time.monotonic() + _SETTLING
        while ledger.lost_after_ack() and time.monotonic() < end:
            generator.turn(0.05)
    finally:
        generator.close()
