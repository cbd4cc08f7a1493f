"""Ports that all capabilities share: the clock, entropy, the bus, and the bag of all stores."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, TypeAlias

from msgspec import Struct

from domain.events import Event
from domain.fleet.ports import NodeStore
from domain.jobs.ports import LeaseStore
from domain.people.ports import (
    AccountStore,
    DeviceStore,
    PrekeyStore,
    ProfileStore,
    SessionStore,
    SignInStore,
    UserNameStore,
)
from domain.retention.ports import RetentionStore
from domain.talk.ports import (
    CardStore,
    ConsentStore,
    ConversationStore,
    EpochStore,
    JournalStore,
    LinkStore,
    MailboxStore,
)
from domain.transparency.ports import LogStore, StaleLogStore
from varde_contract.ids import ConversationId

Clock: TypeAlias = Callable[[], int]
"""Milliseconds since the Unix epoch."""
Entropy: TypeAlias = Callable[[int], bytes]
"""That many random bytes."""


class StoreUnavailable(Exception):
    """The database cannot be reached or does not answer. Nothing is known of the call's effect. Try again later."""


class StoreFault(StoreUnavailable):
    """A bug of ours that the database found, or a schema that is not ours. Trying again helps when somebody mended it.

    Who need not tell it from an outage catches StoreUnavailable. The text is Postgres's code and constraint, or where
    in our code it was, never a statement or value.
    """


Resync: TypeAlias = Callable[[frozenset[ConversationId] | None], None]
"""Called with the conversations whose events may have been missed until now; None for any event at all."""


class BusListener(Protocol):
    """What a listener wants to hear, besides the events that are for every node. Plain functions, from Trio only."""

    def subscribe(self, conversation: ConversationId) -> None:
        """Hear the events of a conversation.

        It takes a moment until a bus hears them. What it may have missed meanwhile, it says by `resync` once it does.
        So: subscribe, then read the head, and read it again on `resync`.
        """

    def unsubscribe(self, conversation: ConversationId) -> None:
        """Hear them no more, from now on."""


class Bus(Protocol):
    """The doorbell between nodes. Events of one publisher about one conversation keep their order."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Tell every node that wants to hear, this one included. Never blocks for longer than its deadline.

        It may lose events, and never raises: once it can, it tells every node to resync instead.
        """

    def listen(self, receive: Callable[[Event], None], resync: Resync) -> AbstractContextManager[BusListener]:
        """Call `receive` with events and `resync` whenever some may have been lost. Both are plain functions."""

    @property
    def connected(self) -> bool:
        """Whether events from elsewhere are heard now. Afterwards `resync` makes up for the time in which not."""

    @property
    def down_seconds(self) -> float:
        """How long they were not, in all."""


class SchemaStore(Protocol):
    """The schema of the database, as far as a running program asks for it."""

    async def fits(self) -> bool:
        """Whether this program may work on it. Migrations may have been applied since it started."""


class Spent(NamedTuple):
    """What was taken from one bucket, as the time in which that refills. `key` has 32 bytes, of whom and of what."""

    key: bytes
    milliseconds: float


class SpendingStore(Protocol):
    """What all processes have given. May forget: then somebody has a full budget once more."""

    async def add(self, spent: Sequence[Spent]) -> Sequence[float]:
        """Add these to what is known; return for each in how many milliseconds its bucket is full. Each key is there
        once. Raises StoreUnavailable.
        """


class Stores(Struct, frozen=True):
    """Everything `storage.stores.open_storage` hands out."""

    accounts: AccountStore
    sign_in: SignInStore
    sessions: SessionStore
    profiles: ProfileStore
    user_names: UserNameStore
    devices: DeviceStore
    prekeys: PrekeyStore
    conversations: ConversationStore
    consent: ConsentStore
    cards: CardStore
    links: LinkStore
    journal: JournalStore
    mailbox: MailboxStore
    epochs: EpochStore
    retention: RetentionStore
    leases: LeaseStore
    spending: SpendingStore
    nodes: NodeStore
    schema: SchemaStore
    transparency: LogStore
    bus: Bus
    stale_log: StaleLogStore | None = None
    """On a replica, where there is one."""
