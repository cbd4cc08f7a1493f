"""Bugs that are planted into the product, one at a time, to see whether the simulation finds them.

A simulation that finds nothing proves something only if it would have. Each mutant is a bug that somebody could write.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, NamedTuple

import trio

import relay.fleet.journal_tail
import relay.fleet.resync
import relay.node
from domain.talk import sending
from domain.talk.model import Committed, Draft
from relay.cache.revocations import RevocationFeed
from relay.connection.established import EstablishedConnection
from relay.connection.outbox import Outbox
from relay.connection.peer import Listener
from relay.delivery.hub import Hub
from relay.delivery.journal import Journal
from relay.fleet.bridge import Bridge
from simulation.determinism import replaced
from simulation.options import Options
from simulation.stores.log import MemoryJournal
from varde.crypto.transcript import Place, Transcript
from varde.outbox import Outbox as ClientOutbox
from varde.receiver import Receiver
from varde_contract.frames import New, ServerFrame
from varde_contract.ids import ConversationId

LATER_MS: Final = 500
MANY_NODES: Final = "nodes"


class Mutant(NamedTuple):
    """A planted bug: its name, what is wrong with it, and how it comes in for the length of a block.

    It cannot show without one of the options it `needs`: seeds without them are not tried.
    """

    name: str
    what: str
    planted: Callable[[], AbstractContextManager[None]]
    needs: frozenset[str] = frozenset()

    def may_show(self, options: Options) -> bool:
        """Whether a seed with these options can find it."""
        fleet = MANY_NODES not in self.needs or options.nodes > 1
        wanted = self.needs - {MANY_NODES}
        return fleet and (not wanted or any(getattr(options, each) for each in sorted(wanted)))


@contextmanager
def _ack_before_commit() -> Iterator[None]:
    heads: dict[Any, int] = {}
    real_write, real_settle = Journal._write, Journal._settle

    async def write(self: Journal, shard: Any) -> None:
        for each in shard.submissions:
            head = heads.get(each.draft.conversation)
            if head is not None:
                heads[each.draft.conversation] = head + 1
                made_up = Committed(each.draft.message, head + 1, each.draft.sent_ms, duplicate=False)
                self._acknowledge(each.peer, each.frame, made_up)
                each.peer.outbox.flush()
        await real_write(self, shard)

    def settle(self: Journal, submission: Any, outcome: Any) -> bool:
        if isinstance(outcome, Committed):
            heads[submission.draft.conversation] = outcome.seq
        return real_settle(self, submission, outcome)

    with replaced(Journal, "_write", write), replaced(Journal, "_settle", settle):
        yield


@contextmanager
def _gaps_not_filled() -> Iterator[None]:
    with (
        # All three: what one of them would miss, the others look up.
        replaced(Bridge, "resync", _nothing),
        replaced(relay.fleet.resync, "_compare", _nothing),
        replaced(relay.fleet.journal_tail, "read_journal_tail", _at_once),
    ):
        yield


@contextmanager
def _confirmed_before_stored() -> Iterator[None]:
    real = Receiver.receive

    def receive(self: Receiver, frames: Sequence[ServerFrame]) -> None:
        for frame in frames:
            if isinstance(frame, New) and self._connection is not None:
                self._connection.confirm(frame.conversation, frame.seq)
        self._background.call_later(LATER_MS, lambda: real(self, frames))

    with replaced(Receiver, "receive", receive):
        yield


@contextmanager
def _stored_twice() -> Iterator[None]:
    real = MemoryJournal._store

    def store(self: MemoryJournal, draft: Draft) -> bool:
        talk = self._memory.talks.get(draft.conversation)
        if talk is not None:
            talk.known.pop((draft.device, draft.client_id), None)
        return real(self, draft)

    with replaced(MemoryJournal, "_store", store):
        yield


@contextmanager
def _roster_unchecked() -> Iterator[None]:
    # The grace as well, or a roster that is too old would still be refused by its version alone.
    with replaced(sending, "_judge_devices", _nothing), replaced(sending, "_in_grace", _yes):
        yield


@contextmanager
def _order_swapped() -> Iterator[None]:
    real = Outbox.take
    with replaced(Outbox, "take", lambda self: real(self)[::-1]):
        yield


@contextmanager
def _replay_accepted() -> Iterator[None]:
    async def wait_proof(self: EstablishedConnection) -> None:
        self._enter_hub()
        await trio.lowlevel.checkpoint()

    with replaced(EstablishedConnection, "_wait_proof", wait_proof):
        yield


@contextmanager
def _drain_drops() -> Iterator[None]:
    # The close frames are left out as well: while clients answer them, what is under way would be finished by chance.
    with (
        replaced(relay.node, "_drain", _at_once),
        replaced(relay.node, "_flush", _at_once),
        replaced(EstablishedConnection, "_close", _at_once),
    ):
        yield


@contextmanager
def _sender_left_waiting() -> Iterator[None]:
    def drop(self: ClientOutbox) -> None:
        self._connection, self._connection_changed = None, trio.Event()

    with replaced(ClientOutbox, "drop_connection", drop):
        yield


@contextmanager
def _backlog_skipped() -> Iterator[None]:
    real = Listener.start
    with replaced(Listener, "start", lambda self, cursor, head: real(self, max(cursor, head), head)):
        yield


@contextmanager
def _parts_unnamed() -> Iterator[None]:
    real = Transcript.next

    def unnamed(self: Transcript, conversation: ConversationId, *, part: bool = False) -> Place:
        place = real(self, conversation, part=part)
        return place if part else place._replace(parts=None)

    with replaced(Transcript, "next", unnamed):
        yield


def _nothing(*_: object) -> None:
    return None


def _yes(*_: object) -> bool:
    return True


async def _at_once(_: object) -> None:
    await trio.lowlevel.checkpoint()


REVOKE: Final = frozenset({"revoke"})
FLEET: Final = frozenset({MANY_NODES})
MUTANTS: Final = (
    Mutant("ack-before-commit", "a message is acked before it is stored", _ack_before_commit),
    Mutant("doorbell-ignored", "what others stored is not read", lambda: replaced(Hub, "note_head", _nothing), FLEET),
    Mutant("gaps-not-filled", "what the bus has lost is not looked up", _gaps_not_filled, FLEET),
    Mutant("confirmed-before-stored", "a client confirms half a second before it stores", _confirmed_before_stored),
    Mutant("stored-twice", "a client id that was stored is forgotten", _stored_twice),
    Mutant("revoked-kept", "a revoked device stays", lambda: replaced(RevocationFeed, "judge", _yes), REVOKE),
    Mutant("roster-unchecked", "any devices may be encrypted for", _roster_unchecked, REVOKE | {"remove_member"}),
    Mutant("order-swapped", "what waits for a peer leaves in reverse", _order_swapped),
    Mutant("replay-accepted", "a handshake that comes again is believed", _replay_accepted, frozenset({"replay"})),
    Mutant("drain-drops", "a draining node leaves without finishing", _drain_drops, frozenset({"node_drain"})),
    Mutant("sender-left-waiting", "a send on a lost connection is not repeated", _sender_left_waiting),
    Mutant("backlog-skipped", "a device that joins hears only what comes from then on", _backlog_skipped),
    Mutant("parts-unnamed", "a message does not say what was sent in parts", _parts_unnamed, frozenset({"parts"})),
)
