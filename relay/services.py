"""What a node is made of, for everything that runs in it: one frozen bag, put together in one place.

Refuses to start anything: `run_node` does.
"""

from dataclasses import dataclass
from random import Random

import trio

from contract.frames import ServerLimits
from contract.limits import SEALED_BYTES
from contract.noise import KeyPair
from domain.ports import Clock, ConversationStore, Entropy, MailboxStore, Stores
from domain.revocations import Revocations
from domain.rosters import Rosters
from domain.tickets import TicketChecker
from relay.admission import Admission
from relay.announcing import Announcer
from relay.bridge import Bridge
from relay.changes import Changes
from relay.config import RelayConfig
from relay.hub import Hub
from relay.journal import Journal, Limits
from relay.outage import Outage
from relay.reading import Reading
from relay.receipts import Receipts
from relay.revocations import RevocationFeed
from relay.showing import Showing
from relay.telling import Telling


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the node does not make itself: its keys, time and chance. `static` is its Noise key pair."""

    static: KeyPair
    ticket_public: bytes
    clock: Clock
    entropy: Entropy
    dice: Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of one node. `node` is its name, made anew with each start."""

    node: str
    config: RelayConfig
    static: KeyPair
    clock: Clock
    entropy: Entropy
    dice: Random
    conversations: ConversationStore
    mailbox: MailboxStore
    outage: Outage
    hub: Hub
    rosters: Rosters
    reading: Reading
    telling: Telling
    showing: Showing
    announcer: Announcer
    journal: Journal
    receipts: Receipts
    changes: Changes
    checker: TicketChecker
    revocations: RevocationFeed
    admission: Admission
    bridge: Bridge
    draining: trio.Event
    """Set when the node goes down in good order."""

    @property
    def ready(self) -> bool:
        """Whether newcomers are welcome."""
        return not (self.draining.is_set() or self.outage.lasting)

    @property
    def limits(self) -> ServerLimits:
        """What `Welcome` promises."""
        config = self.config
        return ServerLimits(SEALED_BYTES, config.frames_per_second, config.bytes_per_second, config.joined)


def make_services(config: RelayConfig, stores: Stores, outside: Outside) -> Services:
    """Put a node together. To be called within Trio."""
    node = outside.entropy(8).hex()
    outage, hub, changes = Outage(config.outage_patience), Hub(), Changes()
    rosters, announcer = Rosters(stores.conversations), Announcer(stores.bus)
    telling = Telling(hub, rosters)
    showing = Showing(hub, rosters, announce=announcer.announce, node=node, pause=config.presence_pause)
    table = Revocations()
    checker = TicketChecker(outside.ticket_public, table, clock=outside.clock)
    revocations = RevocationFeed(stores.devices, table, checker=checker, hub=hub, outage=outage, clock=outside.clock)
    return Services(
        node=node,
        config=config,
        static=outside.static,
        clock=outside.clock,
        entropy=outside.entropy,
        dice=outside.dice,
        conversations=stores.conversations,
        mailbox=stores.mailbox,
        outage=outage,
        hub=hub,
        rosters=rosters,
        reading=Reading(stores.mailbox, outage),
        telling=telling,
        showing=showing,
        announcer=announcer,
        journal=Journal(
            stores.journal,
            rosters=rosters,
            hub=hub,
            announce=announcer.announce,
            outage=outage,
            node=node,
            shards=config.shards,
            limits=Limits(
                queue=config.queue_drafts,
                queue_bytes=config.queue_bytes,
                batch=config.batch_drafts,
                batch_bytes=config.batch_bytes,
                deadline=config.commit_deadline,
            ),
        ),
        receipts=Receipts(
            stores.mailbox,
            rosters=rosters,
            telling=telling,
            announce=announcer.announce,
            outage=outage,
            node=node,
            pause=config.receipts_pause,
        ),
        changes=changes,
        checker=checker,
        revocations=revocations,
        admission=Admission(config, outside.dice),
        bridge=Bridge(
            node=node,
            hub=hub,
            rosters=rosters,
            changes=changes,
            telling=telling,
            showing=showing,
            revocations=revocations,
        ),
        draining=trio.Event(),
    )
