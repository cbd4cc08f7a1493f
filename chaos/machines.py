"""Machines of the run: network namespaces of Linux with a cable each, and disks that may become full.

Network and mounts are the run's own and vanish with its last process, however it ends.
"""

import ctypes
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from supervisor.programs import Program

HERE: Final = "127.0.0.1"
DISK_MIB: Final = 512
"""A database and its log of changes, of a few minutes, take less than half."""
_SWITCH: Final = "varde0"
_HUB: Final = "10.99.0.1"
_OWN: Final = 0x00020000 | 0x40000000
"""CLONE_NEWNS and CLONE_NEWNET of unshare(2), which Python has from 3.12 on."""
_PREPARE: Final = (
    "mount --make-rprivate /",
    "ip link set lo up",
    f"ip link add {_SWITCH} type bridge",
    f"ip addr add {_HUB}/24 dev {_SWITCH}",
    f"ip link set {_SWITCH} up",
)
"""The mounts are made private first: that of a namespace's file would otherwise show in the machine's own
(mount_namespaces(7))."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a program runs, and the address at which it finds everything else. Without a cable it is this machine."""

    address: str = HERE
    hub: str = HERE
    namespace: Path | None = None
    port: str = ""
    """Of the switch."""

    def place(self, program: Program) -> Program:
        """The program, to be run there: `nsenter` becomes it, so its process number is the program's."""
        return replace(program, command=(*self.enter, *program.command))

    @property
    def enter(self) -> tuple[str, ...]:
        """What to put in front of a command."""
        return () if self.namespace is None else ("nsenter", f"--net={self.namespace}")

    def unplug(self) -> None:
        """Let every packet vanish, in both directions, with no error for anybody."""
        _run(f"ip link set {self.port} nomaster")

    def plug(self) -> None:
        """Plug it in again."""
        _run(f"ip link set {self.port} master {_SWITCH}")


class Machines:
    """The machines of one run.

    `refusal` says why there is only this one, with its own disk, and is empty where there can be more.
    """

    def __init__(self, refusal: str) -> None:
        self.refusal = refusal
        self._count = 0

    def open_disk(self, folder: Path) -> None:
        """Put a small disk into an empty folder, in memory; the folder stays as it is where that is not possible."""
        if not self.refusal:
            _run(f"mount -t tmpfs -o size={DISK_MIB}m,mode=0711 tmpfs {folder}")

    def open_machine(self, folder: Path) -> Machine:
        """One more, or this one where there can be no other. It is gone when nothing runs there and the run ends."""
        if self.refusal:
            return Machine()
        self._count += 1
        address, port = f"10.99.0.{10 + self._count}", f"varde-port{self._count}"
        namespace = folder / f"machine-{self._count}"
        namespace.touch()
        for command in (
            f"unshare --net={namespace} true",
            f"ip link add {port} type veth peer name eth0 netns {namespace}",
            f"ip link set {port} master {_SWITCH} up",
            *(f"nsenter --net={namespace} ip {each}" for each in ("link set lo up", "link set eth0 up")),
            f"nsenter --net={namespace} ip addr add {address}/24 dev eth0",
        ):
            _run(command)
        return Machine(address, _HUB, namespace, port)


def enter_own_machines() -> Machines:
    """Go on with a network and mounts that end with this process and its programs. Call it before any thread starts."""
    if os.geteuid() != 0:
        return Machines("only root may make network namespaces and mount disks")
    # In a child first: a process that has left its network cannot go back when the rest fails.
    tried = subprocess.run(
        ("unshare", "--mount", "--net", "sh", "-ec", "\n".join(_PREPARE)), check=False, capture_output=True, text=True
    )
    if tried.returncode != 0:
        return Machines(f"no network namespaces here: {tried.stderr.strip()}")
    # By ctypes and not by running this program again under `unshare`: its process number is what Ctrl-C goes to.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_OWN) != 0:
        return Machines(f"no network namespaces here: {os.strerror(ctypes.get_errno())}")
    for command in _PREPARE:
        _run(command)
    return Machines("")


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)
