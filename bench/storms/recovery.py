"""The node is killed with 10,000 people on it: how long until all of them are there again."""

import tempfile
import time
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from bench.durable.generator import Generator, Line, quiet_collector
from bench.durable.latency import summarise
from bench.durable.ledger import Ledger
from bench.durable.served import Served, free_port
from bench.durable.varde_server import POSTGRES, House, open_house, open_node
from bench.measuring import cpu_seconds
from loadtest.stack.certificate import Certificate, make_certificate

AT_ONCE: Final = 200
"""Handshakes in flight: below what the node takes at once (256), so that nobody is sent away to wait."""
DEADLINE: Final = 180.0
_SECOND_NS: Final = 1_000_000_000


class Return(Struct, frozen=True):
    """How everybody came back. Times in nanoseconds: `back` from the kill, `handshakes` each from its own connect."""

    seconds: float
    server_cpu: float
    postgres_cpu: float
    generator_cpu: float
    back_ns: list[int]
    handshakes_ns: list[int]


def measure_recovery(connections: int, *, tls: bool) -> dict[str, Any]:
    """Kill a node with so many connections, start it again, and return how they came back. Raises ServerFault."""
    with tempfile.TemporaryDirectory(prefix="varde-bench-") as name:
        folder = Path(name)
        certificate = _certificate(folder / "tls") if tls else None
        with open_house(folder, connections) as house:
            down, returned = _kill_and_return(house, connections, certificate)
    return _figures(down, returned)


def _certificate(folder: Path) -> Certificate:
    certificate = make_certificate(folder)
    certificate.key.chmod(0o600)  # the relay takes no key that others can read
    return certificate


def _kill_and_return(house: House, connections: int, certificate: Certificate | None) -> tuple[float, Return]:
    port = free_port()
    with open_node(house, port, certificate) as (served, process):
        generator = _generator(served, connections)
        try:
            generator.connect(range(connections), deadline=DEADLINE, at_once=AT_ONCE)
            process.kill()
            killed = time.monotonic()
        finally:
            generator.close()
    with open_node(house, port, certificate) as (served, _):
        down = time.monotonic() - killed
        return down, _come_back(served, connections, killed)


def _come_back(served: Served, connections: int, killed: float) -> Return:
    back, handshakes = list[int](), list[int]()

    def note(line: Line) -> None:
        now = time.monotonic()
        back.append(int((now - killed) * _SECOND_NS))
        handshakes.append(int((now - line.started) * _SECOND_NS))

    generator = _generator(served, connections)
    generator.on_live = note
    try:
        with quiet_collector():
            began, own, used, beside = time.monotonic(), time.process_time(), *_cpu_of(served)
            generator.connect(range(connections), deadline=DEADLINE, at_once=AT_ONCE)
            seconds, after = time.monotonic() - began, _cpu_of(served)
            own = time.process_time() - own
    finally:
        generator.close()
    return Return(seconds, after[0] - used, after[1] - beside, own, back, handshakes)


def _generator(served: Served, connections: int) -> Generator:
    ledger = Ledger(connections)
    return Generator(served.address, lambda number: served.dial(number, ledger), ledger)


def _cpu_of(served: Served) -> tuple[float, float]:
    return cpu_seconds(served.pid), cpu_seconds(served.beside[POSTGRES])


def _figures(down: float, returned: Return) -> dict[str, Any]:
    connections = len(returned.back_ns)
    back, handshakes = summarise(returned.back_ns), summarise(returned.handshakes_ns)
    return {
        "connections": connections,
        "seconds_until_all_live": max(returned.back_ns) / _SECOND_NS,
        "seconds_down": down,
        "handshakes_per_second": connections / returned.seconds,
        "handshakes_per_server_cpu_second": connections / returned.server_cpu,
        "p50_back_ms": back["p50_ms"],
        "p99_back_ms": back["p99_ms"],
        "p50_handshake_ms": handshakes["p50_ms"],
        "p99_handshake_ms": handshakes["p99_ms"],
        "curve": back["curve"],
        "server_cores": returned.server_cpu / returned.seconds,
        "beside_cores": {POSTGRES: returned.postgres_cpu / returned.seconds},
        "generator_cores": returned.generator_cpu / returned.seconds,
    }
