"""The rules of sending, and `Messages`, which sends for callers that have no relay's journal."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from domain.budgets import Budget, Budgets
from domain.ports import Bus, Clock, Entropy
from domain.talk.events import MessagesCommitted
from domain.talk.model import Committed, Draft, Roster, RosterOutdated, SendKey
from domain.talk.ports import ConversationStore, EpochStore, JournalStore
from varde_contract.envelope import ENVELOPE_VERSION, Cipher
from varde_contract.ids import (
    ENTROPY_BYTES,
    AccountId,
    ClientId,
    ConversationId,
    DeviceId,
    EpochId,
    MessageId,
    ProfileId,
    uuid7,
)
from varde_contract.limits import DEVICES_PER_SEND, ROSTER_GRACE_MS, SECOND_MS
from varde_contract.refusals import RefusalCode, Refused, StaleDevices
from varde_contract.talk import ConversationKind

_MEMBERSHIP: Final = bytes((ENVELOPE_VERSION, Cipher.MEMBERSHIP))

TRIES: Final = 4
"""How often a roster may move under one send before the sender is asked to come back."""
MOVING_RETRY: Final = 1 * SECOND_MS

NO_CONVERSATION: Final = Refused(
    RefusalCode.NOT_FOUND, "There is no such conversation for this device. List the conversations again."
)
"""One text for what is not there and for what is not theirs: the difference would tell an outsider something."""
_ONE_OF_TWO: Final = Refused(
    RefusalCode.MALFORMED, "Send either `group`, one ciphertext for all, or `devices`, one for each device."
)
_STATEMENT: Final = Refused(
    RefusalCode.MALFORMED, "A membership statement is no message. Give it to the API, which judges it."
)
_NO_PART: Final = Refused(RefusalCode.MALFORMED, "A part names `devices`, one or more.")
_PARTS_ARE_FOR_GROUPS: Final = Refused(
    RefusalCode.WRONG_KIND, "Only a group can have more devices than one send names: send to all of them."
)
_NOT_AS_THAT: Final = Refused(
    RefusalCode.PROFILE_NOT_ALLOWED, "This device does not hold that profile. Send as one it holds."
)
_STALE: Final = "The members' devices have changed. Fetch the roster, encrypt again, and send the same client id."
_NEW_EPOCH: Final = Refused(
    RefusalCode.UNAVAILABLE, "The database is another one now. Send again.", retry_after_ms=MOVING_RETRY
)
_MOVING: Final = Refused(
    RefusalCode.OVERLOADED, "The conversation is changing too fast. Send again.", retry_after_ms=MOVING_RETRY
)


class Sender(Struct, frozen=True):
    """Who sends."""

    account: AccountId
    device: DeviceId


class SendRequest(Protocol):
    """What a sender asks for: `varde_contract.frames.Send` or `varde_contract.rest.talk.NewMessage`."""

    @property
    def client_id(self) -> ClientId:
        """The sender's own id of the message; the same one again stores nothing."""

    @property
    def conversation(self) -> ConversationId:
        """Where to."""

    @property
    def profile(self) -> ProfileId:
        """As whom."""

    @property
    def roster_version(self) -> int:
        """The roster that was encrypted for."""

    @property
    def group(self) -> bytes | None:
        """One ciphertext for all."""

    @property
    def devices(self) -> Mapping[DeviceId, bytes] | None:
        """One ciphertext for each device."""


def size_of(request: SendRequest | Draft) -> int:
    """Return the bytes of ciphertext that are stored for it."""
    return len(request.group) if request.group is not None else sum(map(len, (request.devices or {}).values()))


def key_of(device: DeviceId, request: SendRequest) -> SendKey:
    """Name the message that a device asks to be stored."""
    return SendKey(request.conversation, device, request.client_id)


def decide(
    roster: Roster | None, sender: Sender, request: SendRequest, *, message: MessageId, now_ms: int
) -> Draft | Refused:
    """Judge a send against a roster. A draft holds only while the roster is at its version.

    Refuses `not-found`, `profile-not-allowed`, `malformed` and `stale-devices`.
    """
    if roster is None:
        return NO_CONVERSATION
    refused = _judge_sender(roster, sender, request.profile) or _judge_ciphertexts(roster, sender, request, now_ms)
    if refused is not None:
        return refused
    return Draft(
        message=message,
        conversation=roster.conversation,
        roster_version=roster.version,
        client_id=request.client_id,
        profile=request.profile,
        device=sender.device,
        sent_ms=now_ms,
        group=request.group,
        devices=request.devices,
    )


def decide_part(
    roster: Roster | None, sender: Sender, request: SendRequest, *, message: MessageId, now_ms: int
) -> Draft | Refused:
    """Judge a send that names some devices of a group, because it has more than one send can name.

    Refuses what `decide` does, and `wrong-kind` outside groups. A function of its own: the relay takes no parts.
    """
    if roster is None:
        return NO_CONVERSATION
    refused = _judge_sender(roster, sender, request.profile) or _judge_part(roster, sender, request, now_ms)
    if refused is not None:
        return refused
    place = message, roster.conversation, roster.version, request.client_id, request.profile, sender.device, now_ms
    return Draft(*place, group=None, devices=request.devices, part=True)


def _judge_sender(roster: Roster, sender: Sender, profile: ProfileId) -> Refused | None:
    held = roster.devices.get(sender.device)
    if held is None:
        return NO_CONVERSATION
    member = roster.members.get(profile)
    if member is None or member.account != sender.account or profile not in held:
        return _NOT_AS_THAT
    return None


def _judge_ciphertexts(roster: Roster, sender: Sender, request: SendRequest, now_ms: int) -> Refused | None:
    if (request.group is None) == (request.devices is None):
        return _ONE_OF_TWO
    # Members would apply a statement that the server has not judged, and hold another chain than everybody else.
    if request.group is not None:
        if request.group.startswith(_MEMBERSHIP):  # by itself, and not in a loop of one: this is the hot path
            return _STATEMENT
    elif request.devices is not None:
        if any(ciphertext.startswith(_MEMBERSHIP) for ciphertext in request.devices.values()):
            return _STATEMENT
        refused = _judge_devices(roster, sender, request.devices)
        if refused is not None:
            # Nobody was removed in the grace, so what is named is still there, and what is missing came since.
            still_there = request.devices.keys() <= roster.devices.keys() - {sender.device}
            return None if still_there and _in_grace(roster, request.roster_version, now_ms) else refused
    # With the right devices too: what a client says it encrypted for is not just ignored where it is wrong.
    if request.roster_version == roster.version or _in_grace(roster, request.roster_version, now_ms):
        return None
    return stale_devices(roster.version)


def _judge_part(roster: Roster, sender: Sender, request: SendRequest, now_ms: int) -> Refused | None:
    if roster.kind is not ConversationKind.GROUP:
        return _PARTS_ARE_FOR_GROUPS
    if request.group is not None or not request.devices:
        return _NO_PART
    if any(ciphertext.startswith(_MEMBERSHIP) for ciphertext in request.devices.values()):
        return _STATEMENT
    # Who is missing cannot be judged: another part may name them. Their own client tells when none did.
    gone = request.devices.keys() - (roster.devices.keys() - {sender.device})
    if gone:
        return stale_devices(roster.version, gone=gone)
    if request.roster_version == roster.version or _in_grace(roster, request.roster_version, now_ms):
        return None
    return stale_devices(roster.version)


def _in_grace(roster: Roster, version: int, now_ms: int) -> bool:
    """Whether ciphertext may still be for a version of the roster that was superseded.

    A removal ends the grace at once, or what is said next could be opened by who was removed, if the server helped.
    Who came since cannot open it: that is told to them, and their key comes with the sender's next message. Between
    devices of the roster's own choice, a whitelist made narrower is no removal.
    """
    behind = roster.version - version
    # A member who toggled a whitelist twenty times a second once silenced all whose messages took longer to arrive.
    return 0 < behind <= len(roster.superseded_ms) and now_ms < roster.superseded_ms[-behind] + ROSTER_GRACE_MS


def _judge_devices(roster: Roster, sender: Sender, named: Mapping[DeviceId, bytes]) -> Refused | None:
    # Exactly, neither fewer nor more: a device left out would never get the message, and one too many may be revoked.
    # The other devices of the sender's own account are among them; the sending one is not.
    current, given = roster.devices.keys() - {sender.device}, named.keys()
    if current == given:
        return None
    return stale_devices(roster.version, missing=current - given, gone=given - current)


def stale_devices(
    roster_version: int, missing: frozenset[DeviceId] | set[DeviceId] = frozenset(), gone: set[DeviceId] | None = None
) -> Refused:
    """Say what the sender must repair; the ids in order, so that the same fault reads the same twice."""
    lists = (tuple(sorted(ids)[:DEVICES_PER_SEND]) for ids in (missing, gone or ()))
    stale = StaleDevices(roster_version, *lists)
    return Refused(RefusalCode.STALE_DEVICES, _STALE, stale=stale)


FindCommitted: TypeAlias = Callable[[Sequence[SendKey]], Awaitable[Sequence[Committed | None]]]
"""`JournalStore.find_committed`, or something that batches it."""


async def settle_refusals(
    find_committed: FindCommitted, refusals: Sequence[tuple[SendKey, Refused]]
) -> list[Committed | Refused]:
    """Return what each sender is answered whose message `decide` refuses: the ack, if the message was stored before.

    The roster may change after a message was stored, or the device leave, while the ack was lost. The sender is still
    owed that ack. Nobody else can ask for it, because the device is part of the key.
    """
    stored = await find_committed([key for key, _ in refusals])
    return [
        refused if committed is None else committed for committed, (_, refused) in zip(stored, refusals, strict=True)
    ]


class Messages:
    """Sends one message at a time: for the API. A relay has its journal, which sends for many at once."""

    def __init__(
        self,
        conversations: ConversationStore,
        journal: JournalStore,
        epochs: EpochStore,
        bus: Bus,
        budgets: Budgets,
        *,
        node: str,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        """`node` is a name no relay has: every relay must take the messages to its listeners."""
        self._conversations = conversations
        self._journal = journal
        self._epochs = epochs
        self._bus = bus
        self._budgets = budgets
        self._node = node
        self._clock = clock
        self._entropy = entropy

    @property
    def epoch(self) -> EpochId:
        """The epoch of the store. Until the next checkpoint, what `send` has just returned is a number of it."""
        return self._epochs.known[0]

    async def send(self, sender: Sender, request: SendRequest, *, part: bool = False) -> Committed | Refused:
        """Store a message; durable when this returns. Refuses what `decide` does, `overloaded` and `rate-limited`,
        and `unavailable` where the store has lost something meanwhile.

        What was stored before is acknowledged again, whatever became of the roster and of the sender's place since.
        """
        budgets, account = self._budgets, sender.account
        epoch = self.epoch
        over = budgets.spend(account, Budget.SENDS) or budgets.spend(account, Budget.BYTES, size_of(request))
        if over is not None:
            return over  # without a look into the log, which is what a flood would cost
        outcome = await self._store(sender, request, part=part)
        if isinstance(outcome, Refused):
            refusals = [(key_of(sender.device, request), outcome)]
            (outcome,) = await settle_refusals(self._journal.find_committed, refusals)
            if isinstance(outcome, Refused):
                return outcome
        # Told for a duplicate too: who sends again may do so because the first doorbell was never rung.
        await self._bus.publish([MessagesCommitted(self._node, request.conversation, outcome.seq)])
        # Stored before or after the loss, in which the number may be gone, or be somebody else's: whoever asks again is
        # told which it has now.
        return outcome if self.epoch == epoch else _NEW_EPOCH

    async def _store(self, sender: Sender, request: SendRequest, *, part: bool) -> Committed | Refused:
        # The roster is read and judged without a lock. The commit stores only what was judged on the version that still
        # holds, so a removed member cannot win the race.
        for _ in range(TRIES):
            draft = await self._decide(sender, request, part=part)
            if isinstance(draft, Refused):
                return draft
            (outcome,) = await self._journal.commit([draft])
            if not isinstance(outcome, RosterOutdated):
                return outcome
        return _MOVING

    async def _decide(self, sender: Sender, request: SendRequest, *, part: bool) -> Draft | Refused:
        rosters = await self._conversations.rosters([request.conversation])
        now_ms = self._clock()
        message = MessageId(uuid7(now_ms, self._entropy(ENTROPY_BYTES)))
        roster = rosters.get(request.conversation)
        judge = decide_part if part else decide
        draft = judge(roster, sender, request, message=message, now_ms=now_ms)
        if roster is None or isinstance(draft, Refused):
            return draft
        return self._budgets.spend_send(sender.account, size_of(request), len(roster.devices)) or draft
