"""A ledger that also remembers each call, and waiting for what greenlets bring about."""

from collections.abc import Callable
from typing import Final

import gevent

from loadtest.ledger.ledger import Draft, Ledger, PayloadCipher
from loadtest.ledger.run_time import RunClock

PATIENCE: Final = 30.0
"""Seconds. Nothing here takes two; only what never comes takes this long."""
GLANCE: Final = 0.005


class RecordingLedger(Ledger):
    """The real one; `calls` are what it was told, in order."""

    def __init__(self, seal: PayloadCipher) -> None:
        super().__init__(RunClock(), seal)
        self.calls: list[tuple[object, ...]] = []

    def told(self, what: str) -> list[tuple[object, ...]]:
        """Return the arguments of each call of one kind."""
        return [call[1:] for call in self.calls if call[0] == what]

    def draw(self, sender: int, room: int, intended_ns: int, size: int, due: int) -> Draft:
        """Remember it."""
        draft = super().draw(sender, room, intended_ns, size, due)
        self.calls.append(("draw", sender, room, draft.seq, due))
        return draft

    def ack(self, sender: int, room: int, seq: int) -> None:
        """Remember it."""
        self.calls.append(("ack", sender, room, seq))
        super().ack(sender, room, seq)

    def refuse(self, sender: int, room: int, seq: int, code: str) -> None:
        """Remember it."""
        self.calls.append(("refuse", sender, room, seq, code))
        super().refuse(sender, room, seq, code)

    def resend(self, sender: int, room: int, seq: int) -> None:
        """Remember it."""
        self.calls.append(("resend", sender, room, seq))
        super().resend(sender, room, seq)

    def attend(self, receiver: int) -> None:
        """Remember it."""
        self.calls.append(("attend", receiver))
        super().attend(receiver)

    def leave(self, receiver: int) -> None:
        """Remember it."""
        self.calls.append(("leave", receiver))
        super().leave(receiver)

    def receive(self, receiver: int, room: int, ciphertext: bytes) -> None:
        """Remember it, with what the ciphertext says of itself."""
        stamp = self._cipher.read(ciphertext)
        said = () if stamp is None else (stamp.sender, stamp.seq)
        self.calls.append(("receive", receiver, room, *said))
        super().receive(receiver, room, ciphertext)

    def gap(self, receiver: int, room: int, count: int, why: str) -> None:
        """Remember it."""
        self.calls.append(("gap", receiver, room, count, why))
        super().gap(receiver, room, count, why)

    def connected(self, took_ns: int, again: bool) -> None:  # noqa: FBT001 - as the ledger has it
        """Remember it, without the time it took."""
        self.calls.append(("connected", again))
        super().connected(took_ns, again)

    def connect_failed(self, why: str) -> None:
        """Remember it."""
        self.calls.append(("connect_failed", why))
        super().connect_failed(why)

    def closed(self, code: str) -> None:
        """Remember it."""
        self.calls.append(("closed", code))
        super().closed(code)


def wait_until(happened: Callable[[], object]) -> None:
    """Let greenlets run until something is the case."""
    with gevent.Timeout(PATIENCE):
        while not happened():
            gevent.sleep(GLANCE)  # the hub tells nobody that it has heard something
