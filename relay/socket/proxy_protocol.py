"""The PROXY protocol, versions 1 and 2: what a load balancer writes in front of a connection (proxy-protocol.txt).

Without I/O but for `read_client_address`, which takes exactly the header from a socket and leaves what comes behind it.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, NamedTuple, TypeAlias

import trio

from varde_contract.errors import PeerFault

Networks: TypeAlias = Iterable[IPv4Network | IPv6Network]

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
V1_BYTES: Final = 107
"""The longest line of version 1 (section 2.1)."""
V2_BYTES: Final = 2_048
"""Of version 2: with every field that a balancer may add. The length field allows 64 KiB, and nobody needs them."""
_HEAD: Final = 16
_V1: Final = re.compile(rb"PROXY (?:UNKNOWN[^\r\n]*|TCP([46]) (\S{2,39}) \S{2,39} \d{1,5} \d{1,5})\r\n")
_ADDRESSES: Final = {0x11: (4, 12), 0x21: (16, 36)}
"""For TCP over IPv4 and IPv6: bytes of one address, and of both with their ports (section 2.2)."""
_LOCAL, _PROXY, _UNSPECIFIED = 0x20, 0x21, 0x00


class ProxyHeader(NamedTuple):
    """A whole header. `address` is None where the balancer speaks for itself, as in a health check."""

    size: int
    address: str | None


def is_trusted(address: str, networks: Networks) -> bool:
    """Whether a peer may say who its clients are."""
    peer: IPv4Address | IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    return any(peer in network for network in networks)


def parse_proxy_header(received: bytes) -> ProxyHeader | None:
    """Read the header that these bytes begin with; None when it is not all there. Raises PeerFault."""
    if received.startswith(SIGNATURE):
        return _parse_v2(received)
    if received.startswith(b"PROXY "):
        return _parse_v1(received)
    if SIGNATURE.startswith(received) or b"PROXY ".startswith(received):
        return None
    raise PeerFault("no PROXY header")


def _parse_v1(received: bytes) -> ProxyHeader | None:
    end = received.find(b"\r\n", 0, V1_BYTES)
    if end < 0:
        if len(received) >= V1_BYTES:
            raise PeerFault("an endless PROXY line")
        return None
    found = _V1.fullmatch(received[: end + 2])
    if found is None:
        raise PeerFault("a malformed PROXY line")
    family, address = found.groups()
    return ProxyHeader(end + 2, None if family is None else _checked(address.decode("ascii", "replace"), int(family)))


def _parse_v2(received: bytes) -> ProxyHeader | None:
    if len(received) < _HEAD:
        return None
    command, family, length = received[12], received[13], int.from_bytes(received[14:16], "big")
    if command not in {_LOCAL, _PROXY} or length > V2_BYTES:
        raise PeerFault("a malformed PROXY header")
    if len(received) < _HEAD + length:
        return None
    if command == _LOCAL or family == _UNSPECIFIED:
        return ProxyHeader(_HEAD + length, None)
    if family not in _ADDRESSES or length < _ADDRESSES[family][1]:
        raise PeerFault("a PROXY header of no TCP connection")
    packed = received[_HEAD : _HEAD + _ADDRESSES[family][0]]
    return ProxyHeader(_HEAD + length, str(ipaddress.ip_address(packed)))


def _checked(text: str, version: int) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise PeerFault("a malformed PROXY line") from None
    if address.version != version:
        raise PeerFault("a malformed PROXY line")
    return str(address)


async def read_client_address(sock: socket.socket, address: str) -> str:
    """Take the header from a connection of a trusted balancer, and return the client's address.

    `address` is the balancer's own: the answer where it speaks for itself. Raises PeerFault, and OSError. The deadline
    is the caller's.
    """
    taken = b""
    while True:
        await trio.lowlevel.wait_readable(sock)
        # Looked at first, because what stands behind the header is TLS's or HTTP's to read.
        seen = sock.recv(_HEAD + V2_BYTES, socket.MSG_PEEK)
        if not seen:
            raise ConnectionResetError("the peer left before its PROXY header was whole")
        header = parse_proxy_header(taken + seen)
        sock.recv(len(seen) if header is None else header.size - len(taken))
        if header is not None:
            return header.address or address
        taken += seen  # all of it belongs to the header; left in the socket, it would be readable for ever
