"""A client and a relay as sans-I/O cores, in memory: each message is carried by hand, one at a time.

What goes wrong is for the tests to arrange.
"""

from typing import Final, NamedTuple

from tests.contract import examples as x
from varde_contract.frames import Hello
from varde_contract.kem import MlKemKeyPair
from varde_contract.noise import KeyPair
from varde_contract.session import ClientSession, Pattern, ServerSession, State

CLIENT_KEYS: Final = KeyPair.from_private(bytes(range(32)))
RELAY_KEM: Final = MlKemKeyPair(bytes(range(64)))
RELAY_KEYS: Final = KeyPair.from_private(bytes(range(64, 96)))


class Pair(NamedTuple):
    """Both ends of one connection."""

    client: ClientSession
    server: ServerSession

    @property
    def states(self) -> tuple[State, State]:
        """Where both stand, the client first."""
        return self.client.state, self.server.state

    def exchange(self) -> None:
        """Carry the handshake to its end: both stand at GREETING."""
        self.server.receive(self.client.open())
        self.client.receive(took(self.server.take_reply()))
        if self.server.state is State.HANDSHAKE:
            self.server.receive(took(self.client.take_reply()))

    def greet(self) -> None:
        """Carry the relay's Welcome: both are LIVE."""
        self.client.receive(self.server.send(x.WELCOME))

    def drain(self) -> None:
        """Carry the relay's Goaway: both are DRAINING."""
        self.client.receive(self.server.send(x.GOAWAY))

    def reach(self, state: State) -> "Pair":
        """Take both from their first moment to a state, and return them."""
        for before, step in (
            (State.HANDSHAKE, self.exchange),
            (State.GREETING, self.greet),
            (State.LIVE, self.drain),
        ):
            if self.states == (before, before) and state not in {before, State.CLOSED}:
                step()
        if state is State.CLOSED:
            self.client.close()
            self.server.close()
        return self


def open_pair(
    pattern: Pattern = Pattern.IK, *, hello: Hello = x.HELLO, relay_key: bytes | None = RELAY_KEYS.public
) -> Pair:
    """Both ends, before the first message."""
    kem = RELAY_KEM.public if pattern.post_quantum else None
    client = ClientSession(CLIENT_KEYS, hello, relay_key=relay_key, pattern=pattern, relay_kem=kem)
    return Pair(client, ServerSession(RELAY_KEYS, RELAY_KEM))


def took(message: bytes | None) -> bytes:
    """Return a message that must be there."""
    assert message is not None
    return message
