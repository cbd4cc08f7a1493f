"""Two cores are driven at random, with messages under way in both directions and Mallory between them."""

from collections import deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Struct

from tests.contract import examples as x
from tests.contract.strategies import one_of
from tests.contract.two_cores import open_pair, took
from varde_contract import frames as f
from varde_contract.errors import LocalMisuse, PeerFault
from varde_contract.session import ClientSession, Pattern, ServerSession, State

SPOKEN = tuple(kind for kind in x.SERVER_KINDS if kind not in {f.Welcome, f.Goaway})
CAN_TALK = (State.LIVE, State.DRAINING)


class Walk(RuleBasedStateMachine):
    """One connection from its first byte to its last. The wires hold what was sent and has not arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.wires: dict[str, deque[bytes]] = {"client": deque(), "relay": deque()}
        self.said: dict[str, deque[Struct]] = {"client": deque(), "relay": deque()}
        self.ends: dict[str, ClientSession | ServerSession] = {}
        self.tampered = False

    @initialize(pattern=st.sampled_from(Pattern), state=st.sampled_from([State.HANDSHAKE, State.GREETING, State.LIVE]))
    def begin(self, pattern: Pattern, state: State) -> None:
        """The walk begins with the client's first message under way, or later in the life of the session."""
        self.client, self.server = open_pair(pattern).reach(state)
        self.ends = {"client": self.client, "relay": self.server}
        if state is State.HANDSHAKE:
            self.wires["client"].append(self.client.open())

    def _deliver(self, speaker: str) -> None:
        listener = "relay" if speaker == "client" else "client"
        session, message = self.ends[listener], self.wires[speaker].popleft()
        was_closed = session.state is State.CLOSED
        try:
            arrived = session.receive(message)
        except PeerFault:
            assert session.state is State.CLOSED
            assert self.tampered or was_closed
            return
        for frame in arrived:
            assert frame == self.said[speaker].popleft()
        reply = session.take_reply()
        if reply is not None:
            self.wires[listener].append(reply)

    @precondition(lambda self: self.wires["client"])
    @rule()
    def a_message_reaches_the_relay(self) -> None:
        """The oldest message of the client arrives."""
        self._deliver("client")

    @precondition(lambda self: self.wires["relay"])
    @rule()
    def a_message_reaches_the_client(self) -> None:
        """The oldest message of the relay arrives."""
        self._deliver("relay")

    def _say(self, speaker: str, *frames: Struct) -> None:
        self.wires[speaker].append(self.ends[speaker].send(*frames))
        self.said[speaker].extend(frames)

    @precondition(lambda self: self.server.state is State.GREETING)
    @rule()
    def the_relay_greets(self) -> None:
        """The ticket was good."""
        self._say("relay", x.WELCOME)
        assert self.server.state is State.LIVE

    @precondition(lambda self: self.server.state in CAN_TALK)
    @rule(frames=st.lists(one_of(SPOKEN), min_size=1, max_size=3))
    def the_relay_talks(self, frames: list[Struct]) -> None:
        """Several frames in one message."""
        before = self.server.state
        self._say("relay", *frames)
        assert self.server.state is before

    @precondition(lambda self: self.client.state in CAN_TALK)
    @rule(frames=st.lists(one_of(x.CLIENT_KINDS), min_size=1, max_size=3))
    def the_client_talks(self, frames: list[Struct]) -> None:
        """Several frames in one message."""
        before = self.client.state
        self._say("client", *frames)
        assert self.client.state is before

    @precondition(lambda self: self.server.state is State.LIVE)
    @rule()
    def the_relay_drains(self) -> None:
        """Goaway is said once; afterwards both may still end what is under way."""
        self._say("relay", x.GOAWAY)
        assert self.server.state is State.DRAINING

    @rule(frame=st.sampled_from((*x.CLIENT, *x.SERVER)), speaker=st.sampled_from(["client", "relay"]))
    def somebody_speaks_out_of_turn(self, frame: Struct, speaker: str) -> None:
        """A frame that its speaker may not say now is never sealed, and nothing moves."""
        session = self.ends[speaker]
        if type(frame) in self._allowed(speaker, session.state):
            return
        with pytest.raises(LocalMisuse):
            session.send(frame)

    @staticmethod
    def _allowed(speaker: str, state: State) -> tuple[Any, ...]:
        if speaker == "client":
            return x.CLIENT_KINDS if state in CAN_TALK else ()
        more = {State.GREETING: (f.Welcome,), State.LIVE: (*SPOKEN, f.Goaway), State.DRAINING: SPOKEN}
        return more.get(state, ())

    @precondition(lambda self: any(self.wires.values()))
    @rule(speaker=st.sampled_from(["client", "relay"]), how=st.sampled_from(["flip", "cut", "repeat", "drop", "add"]))
    def mallory_interferes(self, speaker: str, how: str) -> None:
        """Somebody on the way changes, shortens, repeats, drops or invents a message."""
        wire = self.wires[speaker]
        if not wire or (how == "drop" and len(wire) == 1):
            return  # losing the last message only ends the walk early
        message = wire.popleft()
        self.tampered = True
        changed = {
            "flip": [message[:-1] + bytes((message[-1] ^ 1,))],
            "cut": [message[:-1]],
            "repeat": [message, message],
            "drop": [],
            "add": [b"\x02" + bytes(200), message],
        }
        wire.extendleft(reversed(changed[how]))

    @precondition(lambda self: any(self.said.values()))
    @rule(speaker=st.sampled_from(["client", "relay"]))
    def an_end_is_closed(self, speaker: str) -> None:
        """Either side may go while something is under way to it, which is then refused."""
        self.ends[speaker].close()

    @invariant()
    def nobody_is_ahead_of_the_other(self) -> None:
        """The client never talks before it was greeted, and never reaches a state the relay has not been in."""
        if self.ends and State.CLOSED not in (self.client.state, self.server.state):
            order = list(State)
            assert order.index(self.client.state) <= order.index(self.server.state) or self.client.state in {
                State.HANDSHAKE,
                State.GREETING,
            }


TestWalk = Walk.TestCase


def test_without_mallory_everything_arrives() -> None:
    """The walk's own wires are honest: a whole conversation goes through them in order, to the last state."""
    walk = Walk()
    walk.begin(Pattern.XX, State.HANDSHAKE)
    for wire in ("client", "relay", "client"):
        walk._deliver(wire)
    walk.the_relay_greets()
    walk.the_relay_talks([x.SERVER[3]])
    for _ in range(2):
        walk.a_message_reaches_the_client()
    walk.the_client_talks(list(x.CLIENT[:3]))
    walk.the_relay_drains()
    walk.a_message_reaches_the_relay()
    walk.a_message_reaches_the_client()
    assert not any(walk.said.values())
    assert (walk.client.state, walk.server.state) == (State.DRAINING, State.DRAINING)
    assert took(walk.client.send(x.CLIENT[0]))
