"""What of this machine stands in the way of a run, and what to change."""

import enum
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import psutil
from msgspec import Struct

_CLOCKS: Final = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}
"""Sources that are read without entering the kernel."""
_OWN_FILES: Final = 300
_RELAY_FILES: Final = 3_000  # what a relay node opens beside its connections; see VARDE_RELAY_CONNECTIONS
_KIB_PER_USER: Final = 96  # in the relay, its sockets' buffers and the generator together, on the safe side
_KIB_FOR_ALL: Final = 1 << 20
_SOMAXCONN: Final = 1024
_BUSY_PERCENT: Final = 15.0
_STEAL_PERCENT: Final = 2.0
_BUSY_SECONDS: Final = 0.5
_CORES: Final = 2
_SOURCE: Final = "127.1.0.1"  # users of a run on one machine come from addresses such as this


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
    """The readings; None is what this machine does not say. `open_files` are the soft and the hard limit."""

    open_files: tuple[int, int]
    ports: int | None
    source_addresses: bool  # whether a socket can be bound to any address of the loopback network
    clock: str | None
    governor: str | None
    cores: int
    busy_percent: float
    steal_percent: float
    available_kib: int
    somaxconn: int | None
    tracked: int | None  # connections that the packet filter can follow, where it does


def check_machine(users: int, workers: int, *, machine: Machine | None = None) -> list[Check]:
    """Look at everything a run of `users` in `workers` processes on this machine needs; takes half a second."""
    machine = machine or read_machine()
    found = (*_limits(machine, users, workers), *_time(machine, workers), *_kernel(machine, users))
    return [msgspec.structs.replace(each, advice="") if each.grade is Grade.GOOD else each for each in found]


def read_machine() -> Machine:
    """Take the readings."""
    spent = psutil.cpu_times_percent(_BUSY_SECONDS)
    ports = [int(each) for each in (_read("/proc/sys/net/ipv4/ip_local_port_range") or "").split()]
    return Machine(
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        ports=ports[1] - ports[0] + 1 if ports else None,
        source_addresses=_can_bind(),
        clock=_read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        cores=len(os.sched_getaffinity(0)),
        busy_percent=100 - spent.idle - spent.iowait - spent.steal,
        steal_percent=spent.steal,
        available_kib=psutil.virtual_memory().available // 1024,
        somaxconn=_number("/proc/sys/net/core/somaxconn"),
        tracked=_number("/proc/sys/net/netfilter/nf_conntrack_max"),
    )


def _limits(machine: Machine, users: int, workers: int) -> Iterator[Check]:
    soft, hard = machine.open_files
    worker, relay = -(-users // workers) + _OWN_FILES, users + _RELAY_FILES
    words = f"{soft:,} open files for a process ({hard:,} at most); a worker needs {worker:,}, the relay {relay:,}"
    advice = "raise the hard limit (LimitNOFILE= of systemd, or /etc/security/limits.conf), or ask for fewer users"
    grade = Grade.GOOD if soft >= max(worker, relay) else Grade.FAULT
    yield Check("open files", grade, words, advice if hard < max(worker, relay) else f"ulimit -n {hard}")

    words = "each ten users come from an address of their own in 127.1.0.0/16: ports are plenty"
    grade = Grade.GOOD if machine.source_addresses else Grade.WARNING
    if not machine.source_addresses:
        words = f"one source address, with {machine.ports or 0:,} ports and at most 50 connects a second"
        grade = Grade.WARNING if machine.ports is None or users < machine.ports else Grade.FAULT
    yield Check("ports", grade, words, "run on Linux's own loopback, or spread the workers over machines")

    needed, free = _KIB_FOR_ALL + users * _KIB_PER_USER, machine.available_kib
    words = f"{free / 2**20:.1f} GiB of memory are free; {needed / 2**20:.1f} will do"
    grade = Grade.GOOD if free >= needed else Grade.FAULT
    yield Check("memory", grade, words, "ask for fewer users, or free memory: swapping ruins every figure")


def _time(machine: Machine, workers: int) -> Iterator[Check]:
    advice = "each reading enters the kernel; write tsc into current_clocksource, where the machine has it"
    yield Check("clock", _good(machine.clock in {None, *_CLOCKS}), f"the clock is {machine.clock or 'unknown'}", advice)

    words, advice = (
        f"frequency scaling: {machine.governor or 'none to be seen'}",
        "cpupower frequency-set -g performance",
    )
    yield Check(
        "frequency", _good(machine.governor in {None, "performance"}), words, "cpupower frequency-set -g performance"
    )

    words = f"{machine.cores} cores for {workers} workers, the relay, the API and Postgres"
    few, many = "two cores at least, or what is measured is the generator", "more processes than cores only wait"
    advice = few if machine.cores < _CORES else f"--workers {machine.cores}: {many}"
    yield Check("cores", _good(machine.cores >= max(_CORES, workers)), words, advice)

    words = f"{machine.busy_percent:.0f} % of the machine is busy before the run"
    yield Check("load", _good(machine.busy_percent <= _BUSY_PERCENT), words, "end what else runs here: see top")

    words = f"{machine.steal_percent:.1f} % of the time goes to other guests of the host"
    advice = "high percentiles will be the neighbours'; use a machine of one's own"
    yield Check("steal", _good(machine.steal_percent <= _STEAL_PERCENT), words, advice)


def _kernel(machine: Machine, users: int) -> Iterator[Check]:
    words = f"the kernel queues {machine.somaxconn} connections for a listener"
    enough = machine.somaxconn is None or machine.somaxconn >= min(users, _SOMAXCONN)
    yield Check("backlog", _good(enough), words, f"sysctl -w net.core.somaxconn={_SOMAXCONN * 4}")

    words = f"the packet filter follows {'no' if machine.tracked is None else f'{machine.tracked:,}'} connections"
    enough = machine.tracked is None or machine.tracked >= 4 * users
    advice = f"sysctl -w net.netfilter.nf_conntrack_max={users * 8}"
    yield Check("connection tracking", _good(enough), words, advice)


def _good(good: bool) -> Grade:  # noqa: FBT001 - its one meaning
    return Grade.GOOD if good else Grade.WARNING


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _number(path: str) -> int | None:
    text = _read(path)
    return int(text) if text is not None and text.isdigit() else None


def _can_bind() -> bool:
    try:
        with socket.socket() as sock:
            sock.bind((_SOURCE, 0))
    except OSError:
        return False
    return True
