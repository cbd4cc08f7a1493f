"""The keys and tickets of one run, in two files: the node's, and the members'.

They are a benchmark's, and of no use to anybody.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

_NODE: Final = "node.msgpack"
_MEMBERS: Final = "members.msgpack"


class NodeSecrets(Struct, frozen=True, array_like=True):
    """What the server is started with."""

    private: bytes
    ticket_public: bytes

    def __repr__(self) -> str:
        return "NodeSecrets"


class MemberSecrets(Struct, frozen=True, array_like=True):
    """What one member connects with."""

    private: bytes
    ticket: str

    def __repr__(self) -> str:
        return "MemberSecrets"


class Members(Struct, frozen=True, array_like=True):
    """All members, and the node's public key."""

    node_public: bytes
    members: list[MemberSecrets]

    def __repr__(self) -> str:
        return f"Members({len(self.members)})"


def write_node(folder: Path, node: NodeSecrets) -> None:
    """Write the server's file."""
    (folder / _NODE).write_bytes(msgspec.msgpack.encode(node))


def read_node(folder: Path) -> NodeSecrets:
    """Read the server's file."""
    return msgspec.msgpack.decode((folder / _NODE).read_bytes(), type=NodeSecrets)


def write_members(folder: Path, node_public: bytes, members: Sequence[MemberSecrets]) -> None:
    """Write the generator's file."""
    (folder / _MEMBERS).write_bytes(msgspec.msgpack.encode(Members(node_public, list(members))))


def read_members(folder: Path) -> Members:
    """Read the generator's file."""
    return msgspec.msgpack.decode((folder / _MEMBERS).read_bytes(), type=Members)
