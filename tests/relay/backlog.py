"""Messages that a conversation has before anybody joins it, and what a client is given of them."""

from domain.talk import model as talk
from tests.cast import bob, bob_phone
from tests.relay.memory_node import Backend, Sends
from varde_contract import frames as f
from varde_contract.ids import MessageId

DAY_MS = 24 * 60 * 60 * 1000


async def fill(backend: Backend, sends: Sends, roster: talk.Roster, count: int, sealed: bytes = b"sealed") -> None:
    """Let Bob's phone have sent so many group messages."""
    drafts = [
        talk.Draft(
            message=MessageId(frame.client_id),
            conversation=roster.conversation,
            roster_version=roster.version,
            client_id=frame.client_id,
            profile=bob.profile,
            device=bob_phone.id,
            sent_ms=backend.clock.now_ms,
            group=sealed,
            devices=None,
        )
        for frame in (sends.group(roster, bob) for _ in range(count))
    ]
    await backend.stores.journal.commit(drafts)


def seqs(frames: list[f.ServerFrame]) -> list[int]:
    """The numbers of messages."""
    return [frame.seq for frame in frames if isinstance(frame, f.New)]


def gaps(frames: list[f.ServerFrame]) -> list[tuple[int, int, str]]:
    """The gaps."""
    return [(frame.from_seq, frame.to_seq, frame.why.value) for frame in frames if isinstance(frame, f.Gap)]
