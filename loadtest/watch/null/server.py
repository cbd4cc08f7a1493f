"""A server that does nothing but speak the protocol: acks and deliveries at once, from memory.

`python -m loadtest.watch.null.server --users N --crowd FILE` makes its people, writes the file of their crowd, says in
one line of JSON where it listens, and serves until its standard input ends: it does not outlive who started it.
"""

import argparse
import json
import resource
import select
import socket
import sys
from pathlib import Path
from typing import Final

from loadtest.crowd.crowd import write_crowd
from loadtest.watch.null.exchange import Exchange
from loadtest.watch.null.peer import HungUp, Peer
from loadtest.watch.null.people import make_crowd
from varde_contract.frames import ServerFrame
from varde_contract.ids import DeviceId
from varde_contract.noise import KeyPair

HOST: Final = "127.0.0.1"
PATH: Final = "/v1/relay"
_BACKLOG: Final = 4096
_EVENTS: Final = 256
_ACCEPTS: Final = 64
"""Newcomers of one pass; then the others get their turn."""


class Server:
    """One epoll, in one thread."""

    def __init__(self, listener: socket.socket, exchange: Exchange, static: KeyPair) -> None:
        self._listener, self._exchange, self._static = listener, exchange, static
        self._poll = select.epoll()
        self._peers: dict[int, Peer] = {}
        self._there: dict[DeviceId, int] = {}
        listener.setblocking(False)
        self._poll.register(listener, select.EPOLLIN)

    def serve(self, until: int) -> None:
        """Serve until the descriptor `until` is readable."""
        self._poll.register(until, select.EPOLLIN | select.EPOLLHUP)
        while True:
            # Without a deadline: whoever started it closes `until`, or ends and closes it thereby.
            for descriptor, event in self._poll.poll(maxevents=_EVENTS):
                if descriptor == until:
                    return
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._peers:
                    self._serve_peer(descriptor, event)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, _address = self._listener.accept()
            except OSError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[sock.fileno()] = Peer(sock, self._static)
            self._poll.register(sock, select.EPOLLIN)

    def _serve_peer(self, descriptor: int, event: int) -> None:
        peer = self._peers[descriptor]
        try:
            if event & select.EPOLLOUT:
                peer.flush()
                self._poll.modify(descriptor, self._wanted(peer))
            if event & ~select.EPOLLOUT:
                self._hear(descriptor, peer)
        except HungUp:
            self._end(descriptor)

    def _hear(self, descriptor: int, peer: Peer) -> None:
        frames = peer.receive()
        if peer.hello is None:
            return
        if not peer.live:
            self._greet(descriptor, peer, peer.hello.device)
        told: dict[DeviceId, list[ServerFrame]] = {}
        for frame in frames:
            for device, answer in self._exchange.answer(peer.hello.device, frame):
                told.setdefault(device, []).append(answer)
        for device, answers in told.items():
            self._tell(device, answers)

    def _greet(self, descriptor: int, peer: Peer, device: DeviceId) -> None:
        if not self._exchange.knows(device):
            raise HungUp
        if (older := self._there.get(device)) is not None:
            self._end(older)
        self._there[device] = descriptor
        peer.tell([self._exchange.welcome(device)])

    def _tell(self, device: DeviceId, answers: list[ServerFrame]) -> None:
        descriptor = self._there.get(device)
        if descriptor is None:
            return
        peer = self._peers[descriptor]
        try:
            peer.tell(answers)
        except HungUp:
            self._end(descriptor)
            return
        if peer.blocked:
            self._poll.modify(descriptor, self._wanted(peer))

    def _wanted(self, peer: Peer) -> int:
        return select.EPOLLIN | (select.EPOLLOUT if peer.blocked else 0)

    def _end(self, descriptor: int) -> None:
        peer = self._peers.pop(descriptor, None)
        if peer is None:
            return
        if peer.hello is not None and self._there.get(peer.hello.device) == descriptor:
            del self._there[peer.hello.device]
        self._poll.unregister(descriptor)
        peer.aclose()


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--crowd", type=Path, required=True)
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    static = KeyPair.generate()
    with socket.create_server((HOST, 0), backlog=_BACKLOG) as listener:
        crowd = make_crowd(given.users, f"ws://{HOST}:{listener.getsockname()[1]}{PATH}", static.public)
        write_crowd(given.crowd, crowd)
        server = Server(listener, Exchange(crowd), static)
        sys.stdout.write(json.dumps({"relay_url": crowd.relay_url}) + "\n")
        sys.stdout.flush()
        server.serve(sys.stdin.fileno())


if __name__ == "__main__":
    main()
