"""A server that runs, with the connections to it and the clients that fit it: what every measurement begins with."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from bench.catalogue import VARDE, Entry, command_of
from bench.clients import Member, PeerMember, VardeMember
from bench.connections import Connections
from bench.process import Server, open_server
from bench.rooms import Members, Plan, make_members
from loadtest.stack.certificate import Certificate, trust
from varde_contract.session import Pattern


class Workplace(Struct, frozen=True):
    """What all measurements of a run share: the cores of server and load, a folder for files, and the certificate."""

    cores: tuple[int | None, int | None]
    folder: Path
    certificate: Certificate


class MeasuredServer(Struct, frozen=True):
    """A running server, and the connections to it."""

    entry: Entry
    server: Server
    connections: Connections
    plan: Plan
    members: Members | None

    def clients(self, members: Iterable[int], *, pattern: Pattern = Pattern.IK, joins: bool = True) -> Iterator[Member]:
        """Yield the client of each of these members. `pattern` and `joins` are for Varde's."""
        authority = f"127.0.0.1:{self.server.port}"
        for member in members:
            room = self.plan.room_of(member)
            if self.members is None:
                yield PeerMember(authority, room, member, encrypted=self.entry.encrypted)
            else:
                node, keys = self.members
                key = node if pattern is Pattern.IK else None
                yield VardeMember(authority, room, member, keys[member], key, joins=joins)


@contextmanager
def open_measured_server(
    workplace: Workplace, entry: Entry, plan: Plan, *, tls: bool = False
) -> Iterator[MeasuredServer]:
    """Run a server while the block lasts. Raises ServerFault."""
    folder, certificate = workplace.folder, workplace.certificate
    command, members, context = command_of(entry, folder), None, None
    if entry.name == VARDE:
        command += ["--plan", plan.text, "--folder", str(folder)]
        members = make_members(folder, plan.members)
    if tls:
        command += ["--certificate", str(certificate.certificate), "--key", str(certificate.key)]
        context = trust(certificate.certificate)
    with (
        open_server(command, core=workplace.cores[0], log=folder / f"{entry.name}.log") as server,
        Connections(server.port, context) as connections,
    ):
        yield MeasuredServer(entry, server, connections, plan, members)
