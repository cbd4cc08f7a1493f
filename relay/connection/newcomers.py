"""Those who were let in and not served yet. While there are many, nobody else is let in."""

from collections import OrderedDict

import trio

from relay.connection.peer import Peer


class Newcomers:
    """Peers between their handshake and the moment when their first join has all there was to read.

    A handshake is the smaller part of what a newcomer costs: it joins its conversations at once, which are queries and
    pages of the log. A pace of handshakes alone lets in a crowd that then times out together, comes again, and is let
    in again. With a bound on those who are not served yet, the node lets in as many as it gets done, whatever it is
    that is slow: its processor, its database or its disk. A fixed pace for a slow node would be too low for others.
    """

    def __init__(self, most: int, patience: float) -> None:
        """`patience` is the seconds in which a newcomer has to join: later, or never, it holds up nobody."""
        self._most = most
        self._patience = patience
        self._welcomed: OrderedDict[Peer, float] = OrderedDict()
        """When their patience ends, the earliest first."""
        self._joining: set[Peer] = set()

    def __len__(self) -> int:
        now = trio.current_time()
        while self._welcomed and next(iter(self._welcomed.values())) < now:
            self._welcomed.popitem(last=False)
        return len(self._welcomed) + len(self._joining)

    @property
    def full(self) -> bool:
        """Whether so many wait that the next one would only wait as well."""
        return len(self) >= self._most

    def enter(self, peer: Peer) -> None:
        """Count a peer whose handshake has ended, until it is `leave`."""
        self._welcomed[peer] = trio.current_time() + self._patience

    def note_join(self, peer: Peer) -> None:
        """Note that a newcomer waits for us from now on, however long we take. Does nothing for others."""
        if self._welcomed.pop(peer, None) is not None:
            self._joining.add(peer)

    def leave(self, peer: Peer) -> None:
        """Note that a peer has what it asked for, reads slower than we do, or is gone. May be called again."""
        self._welcomed.pop(peer, None)
        self._joining.discard(peer)
