"""The keys and tickets of one run, in two files. They are a benchmark's, and of no use to anybody."""

import os
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.rooms import account_of, device_of, profile_of
from varde_contract.noise import KeyPair

_NODE: Final = "node.msgpack"
_MEMBERS: Final = "members.msgpack"


NodeKeys: TypeAlias = tuple[bytes, bytes]
"""What the server is started with: its private key, and the public one of tickets."""
MemberKeys: TypeAlias = tuple[bytes, str]
"""What one member connects with: its private key and its ticket."""
Members: TypeAlias = tuple[bytes, list[MemberKeys]]
"""The node's public key, and all members."""


def read_node(folder: Path) -> NodeKeys:
    """Read the server's file."""
    keys: NodeKeys = msgspec.msgpack.decode((folder / _NODE).read_bytes(), type=NodeKeys)
    return keys


def make_members(folder: Path, wanted: int) -> Members:
    """Return the keys and tickets of at least so many members; they are made once for a run."""
    path = folder / _MEMBERS
    if not path.exists() or len(_read_members(path)[1]) < wanted:
        # In a process of its own: neither the server's memory nor the load's time shall pay for it.
        maker = get_context("spawn").Process(target=_make, args=(folder, wanted))
        maker.start()
        maker.join()
    return _read_members(path)


def _read_members(path: Path) -> Members:
    members: Members = msgspec.msgpack.decode(path.read_bytes(), type=Members)
    return members


def forget_keys(folder: Path) -> None:
    """Delete the files of an earlier run: tickets last for a day."""
    for name in (_NODE, _MEMBERS):
        (folder / name).unlink(missing_ok=True)


def _make(folder: Path, members: int) -> None:
    # Only this process needs the domain; who reads the files imports no server code.
    from domain.people.model import Device  # noqa: PLC0415
    from domain.people.tickets import TicketIssuer  # noqa: PLC0415

    node, ticket_key = KeyPair.generate(), Ed25519PrivateKey.generate()
    issuer, now_ms = TicketIssuer(ticket_key.private_bytes_raw(), entropy=os.urandom), time.time_ns() // 1_000_000

    def member(number: int) -> MemberKeys:
        noise, profiles = KeyPair.generate(), (profile_of(number),)
        device = Device(account_of(number), device_of(number), noise.public, b"", b"", b"", profiles, created_ms=now_ms)
        return noise.private_bytes(), issuer.issue(device, read_ms=now_ms).text

    node_keys = node.private_bytes(), ticket_key.public_key().public_bytes_raw()
    (folder / _NODE).write_bytes(msgspec.msgpack.encode(node_keys))
    (folder / _MEMBERS).write_bytes(msgspec.msgpack.encode((node.public, list(map(member, range(members))))))
