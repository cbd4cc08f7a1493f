"""One server with its exchange and the clients that fit it: what every measurement begins with."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from bench.catalogue import VARDE, Entry, command_of
from bench.clients import Client, PeerClient
from bench.hosting import ROOT, Server, open_server
from bench.keyring import Members, read_members
from bench.lines import Exchange
from bench.measuring import Cores
from bench.plan import Plan, Rooms
from bench.varde_client import VardeClient
from loadtest.stack.certificate import Certificate
from varde_contract.session import Pattern


class Workshop(Struct, frozen=True):
    """What all measurements of a run share: the cores, a folder for files, and the certificate."""

    cores: Cores
    folder: Path
    certificate: Certificate


class Stage(Struct, frozen=True):
    """A running server, and the lines to it."""

    entry: Entry
    server: Server
    exchange: Exchange
    plan: Plan
    members: Members | None

    def clients(self, rooms: Rooms, *, pattern: Pattern = Pattern.IK, joins: bool = True) -> Iterable[Client]:
        """Return a client for each member of these rooms. `pattern` and `joins` are for Varde's."""
        return (self.client(member, pattern=pattern, joins=joins) for member in rooms.members)

    def client(self, member: int, *, pattern: Pattern = Pattern.IK, joins: bool = True) -> Client:
        """Return the client of one member."""
        room, authority = self.plan.room_of(member), self.server.authority
        if self.members is None:
            return PeerClient(authority, room, member, sealed=self.entry.sealed)
        secrets, key = self.members.members[member], self.members.node_public
        return VardeClient(authority, room, member, secrets, relay_key=key, pattern=pattern, joins=joins)


@contextmanager
def open_stage(workshop: Workshop, entry: Entry, plan: Plan, *, tls: bool = False) -> Iterator[Stage]:
    """Run a server and open an exchange to it while the block lasts. Raises NoServer."""
    command, members = command_of(entry, workshop.folder), None
    if entry.name == VARDE:
        command += ["--plan", plan.text, "--folder", str(workshop.folder)]
        members = _members(workshop.folder, plan.members)
    if tls:
        files = workshop.certificate
        command += ["--certificate", str(files.certificate), "--key", str(files.key)]
    context = workshop.certificate.context() if tls else None
    log = workshop.folder / f"{entry.name}.log"
    with open_server(command, core=workshop.cores.server, log=log) as server, Exchange(server.port, context) as lines:
        yield Stage(entry, server, lines, plan, members)


def _members(folder: Path, wanted: int) -> Members:
    """Return the keys and tickets of at least so many members; they are made once for a run."""
    try:
        members = read_members(folder)
    except FileNotFoundError:
        members = None
    if members is not None and len(members.members) >= wanted:
        return members
    program = (sys.executable, "-m", "bench.servers.varde_keys")
    subprocess.run((*program, "--members", str(wanted), "--folder", str(folder)), cwd=ROOT, check=True)  # noqa: S603 - ours
    return read_members(folder)
