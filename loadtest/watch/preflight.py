"""What of this machine stands in the way of a run, and what to change."""

import enum
import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

_PROC: Final = Path("/proc")
_CLOCKS: Final = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}
"""Sources that are read without entering the kernel."""
_OWN_FILES: Final = 300
_RELAY_FILES: Final = 3_000
"""What a relay node opens beside its connections; see VARDE_RELAY_CONNECTIONS."""
_KIB_PER_USER: Final = 96
"""In the relay, its sockets' buffers and the generator together, on the safe side."""
_KIB_FOR_ALL: Final = 1 << 20
_SOMAXCONN: Final = 1024
_BUSY_PERCENT: Final = 15.0
_STEAL_PERCENT: Final = 2.0
_BUSY_SECONDS: Final = 0.5
_CORES: Final = 2
_SOURCE: Final = "127.1.0.1"
"""Users of a run on one machine come from addresses such as this."""


class Grade(enum.StrEnum):
    """How much it matters."""

    GOOD = "good"
    WARNING = "warning"  # figures may be worse than they need be
    FAULT = "fault"  # the run will not work


class Check(Struct, frozen=True):
    """One thing that was looked at, and what to do about it unless it is good."""

    name: str
    grade: Grade
    words: str
    advice: str = ""


class Machine(Struct, frozen=True, kw_only=True):
    """The readings. None is what this machine does not say."""

    open_files: tuple[int, int]
    """Soft, hard."""
    ports: int | None
    source_addresses: bool
    """Whether a socket can be bound to any address of the loopback network."""
    clock: str | None
    governor: str | None
    cores: int
    busy_percent: float
    steal_percent: float
    available_kib: int | None
    somaxconn: int | None
    tracked: int | None
    """Connections that the packet filter can follow, where it does."""


class _Need(Struct, frozen=True):
    machine: Machine
    users: int
    workers: int


def preflight(users: int, workers: int, *, machine: Machine | None = None) -> list[Check]:
    """Look at everything a run of `users` in `workers` processes on this machine needs; takes half a second."""
    machine = machine or read_machine()
    checks: tuple[Callable[[_Need], Check], ...] = (
        *(_open_files, _ports, _clock, _governor, _cores, _busy, _steal, _memory, _backlog, _tracked),
    )
    need = _Need(machine, users, workers)
    return [check(need) for check in checks]


def read_machine() -> Machine:
    """Take the readings."""
    ticks = _ticks()
    time.sleep(_BUSY_SECONDS)
    busy, steal = _shares(ticks, _ticks())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clock = _said(Path("/sys/devices/system/clocksource/clocksource0/current_clocksource"))
    return Machine(
        open_files=(soft, hard),
        ports=_port_range(),
        source_addresses=_can_bind(),
        clock=clock,
        governor=_said(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        cores=len(os.sched_getaffinity(0)),
        busy_percent=busy,
        steal_percent=steal,
        available_kib=_available_kib(),
        somaxconn=_number(_PROC / "sys/net/core/somaxconn"),
        tracked=_number(_PROC / "sys/net/netfilter/nf_conntrack_max"),
    )


def _open_files(need: _Need) -> Check:
    soft, hard = need.machine.open_files
    worker, relay = -(-need.users // need.workers) + _OWN_FILES, need.users + _RELAY_FILES
    words = f"{soft:,} open files for a process ({hard:,} at most); a worker needs {worker:,}, the relay {relay:,}"
    if hard < max(worker, relay):
        advice = "raise the hard limit (LimitNOFILE= of systemd, or /etc/security/limits.conf), or ask for fewer users"
        return Check("open files", Grade.FAULT, words, advice)
    if soft < max(worker, relay):
        return Check("open files", Grade.FAULT, words, f"ulimit -n {hard}")
    return Check("open files", Grade.GOOD, words)


def _ports(need: _Need) -> Check:
    if need.machine.source_addresses:
        words = "each ten users come from an address of their own in 127.1.0.0/16: ports are plenty"
        return Check("ports", Grade.GOOD, words)
    words = f"one source address, with {need.machine.ports or 0:,} ports and at most 50 connects a second"
    fits = need.machine.ports is None or need.users < need.machine.ports
    advice = "run on Linux's own loopback, or spread the workers over machines"
    return Check("ports", Grade.WARNING if fits else Grade.FAULT, words, advice)


def _clock(need: _Need) -> Check:
    words = f"the clock is {need.machine.clock or 'unknown'}"
    if need.machine.clock is None or need.machine.clock in _CLOCKS:
        return Check("clock", Grade.GOOD, words)
    advice = "each reading enters the kernel; write tsc into current_clocksource, where the machine has it"
    return Check("clock", Grade.WARNING, words, advice)


def _governor(need: _Need) -> Check:
    words = f"frequency scaling: {need.machine.governor or 'none to be seen'}"
    if need.machine.governor in {None, "performance"}:
        return Check("frequency", Grade.GOOD, words)
    return Check("frequency", Grade.WARNING, words, "cpupower frequency-set -g performance, for the time of the run")


def _cores(need: _Need) -> Check:
    words = f"{need.machine.cores} cores for {need.workers} workers, the relay, the API and Postgres"
    if need.machine.cores < _CORES:
        return Check("cores", Grade.WARNING, words, "two cores at least, or what is measured is the generator")
    if need.workers > need.machine.cores:
        return Check(
            "cores", Grade.WARNING, words, f"--workers {need.machine.cores}: more processes than cores only wait"
        )
    return Check("cores", Grade.GOOD, words)


def _busy(need: _Need) -> Check:
    words = f"{need.machine.busy_percent:.0f} % of the machine is busy before the run"
    if need.machine.busy_percent <= _BUSY_PERCENT:
        return Check("load", Grade.GOOD, words)
    return Check("load", Grade.WARNING, words, "end what else runs here (see top), or wait for it")


def _steal(need: _Need) -> Check:
    words = f"{need.machine.steal_percent:.1f} % of the time goes to other guests of the host"
    if need.machine.steal_percent <= _STEAL_PERCENT:
        return Check("steal", Grade.GOOD, words)
    return Check("steal", Grade.WARNING, words, "high percentiles will be the neighbours'; use a machine of one's own")


def _memory(need: _Need) -> Check:
    needed = _KIB_FOR_ALL + need.users * _KIB_PER_USER
    if need.machine.available_kib is None:
        return Check("memory", Grade.GOOD, "the machine does not say how much memory there is")
    words = f"{need.machine.available_kib / 2**20:.1f} GiB of memory are free; {needed / 2**20:.1f} will do"
    if need.machine.available_kib >= needed:
        return Check("memory", Grade.GOOD, words)
    return Check("memory", Grade.FAULT, words, "ask for fewer users, or free memory: swapping ruins every figure")


def _backlog(need: _Need) -> Check:
    words = f"the kernel queues {need.machine.somaxconn} connections for a listener"
    if need.machine.somaxconn is None or need.machine.somaxconn >= min(need.users, _SOMAXCONN):
        return Check("backlog", Grade.GOOD, words)
    return Check("backlog", Grade.WARNING, words, f"sysctl -w net.core.somaxconn={_SOMAXCONN * 4}")


def _tracked(need: _Need) -> Check:
    if need.machine.tracked is None:
        return Check("connection tracking", Grade.GOOD, "the packet filter follows no connections")
    words = f"the packet filter follows {need.machine.tracked:,} connections"
    if need.machine.tracked >= 4 * need.users:
        return Check("connection tracking", Grade.GOOD, words)
    return Check(
        "connection tracking", Grade.WARNING, words, f"sysctl -w net.netfilter.nf_conntrack_max={need.users * 8}"
    )


def _said(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _number(path: Path) -> int | None:
    said = _said(path)
    return int(said) if said is not None and said.isdigit() else None


def _port_range() -> int | None:
    said = _said(_PROC / "sys/net/ipv4/ip_local_port_range")
    if said is None:
        return None
    low, high = map(int, said.split())
    return high - low + 1


def _can_bind() -> bool:
    try:
        with socket.socket() as sock:
            sock.bind((_SOURCE, 0))
    except OSError:
        return False
    return True


def _available_kib() -> int | None:
    lines = (_said(_PROC / "meminfo") or "").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _ticks() -> list[int]:
    """Return user, nice, system, idle, iowait, irq, softirq, steal."""
    first = (_said(_PROC / "stat") or "").partition("\n")[0]
    return [int(each) for each in first.split()[1:9]]


def _shares(before: list[int], after: list[int]) -> tuple[float, float]:
    """Return in percent what was busy and what was stolen between two readings of all cores."""
    passed = [later - earlier for earlier, later in zip(before, after, strict=True)]
    if not (whole := sum(passed)):
        return 0.0, 0.0
    idle, steal = passed[3] + passed[4], passed[7]
    return 100 * (whole - idle - steal) / whole, 100 * steal / whole
