"""What a node is made of, for everything that runs in it: one frozen bag, put together in one place."""

from dataclasses import dataclass
from random import Random

import trio

from domain.people.revocations import Revocations
from domain.people.tickets import TicketChecker
from domain.ports import Clock, Entropy, Stores
from domain.talk.ports import ConversationStore, MailboxStore
from relay.cache.log import Reading
from relay.cache.outage import Outage
from relay.cache.revocations import RevocationFeed
from relay.cache.rosters import Rosters
from relay.cache.standings import Standings
from relay.connection.admission import Admission
from relay.delivery.hub import Hub
from relay.delivery.journal import Journal, Limits
from relay.delivery.notifier import Telling
from relay.delivery.presence import Showing
from relay.delivery.receipts import Receipts
from relay.fleet.bridge import Bridge
from relay.fleet.changes import Changes
from relay.fleet.peer_nodes import Company
from relay.fleet.publisher import Announcer
from relay.metrics.counters import Metrics
from relay.socket.flushing import Flushing
from relay.socket.reactor import Reactor
from relay.socket.tls import Tls
from relay.socket.tls_certificate import TlsCertificate
from settings.relay import RelaySettings
from varde_contract.frames import ServerLimits
from varde_contract.limits import SEALED_BYTES
from varde_contract.noise import KeyPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the node does not make itself: its keys, time and chance. `static` is its Noise key pair.

    Without a `certificate`, TLS ends in front of the node, or nowhere.
    """

    static: KeyPair
    ticket_public: bytes
    clock: Clock
    entropy: Entropy
    dice: Random
    certificate: TlsCertificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of one node. `node` is its name, made anew with each start."""

    node: str
    config: RelaySettings
    metrics: Metrics
    static: KeyPair
    certificate: TlsCertificate | None
    clock: Clock
    entropy: Entropy
    dice: Random
    conversations: ConversationStore
    mailbox: MailboxStore
    outage: Outage
    flushing: Flushing
    reactor: Reactor
    hub: Hub
    rosters: Rosters
    standings: Standings
    reading: Reading
    telling: Telling
    showing: Showing
    announcer: Announcer
    company: Company
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

    def close_doors(self) -> None:
        """Let nobody new in: the node goes down in good order."""
        self.draining.set()
        self.admission.closed = True

    def open_tls(self) -> Tls | None:
        """Make the TLS of one more connection; None where there is no certificate."""
        return None if self.certificate is None else self.certificate.make_tls()

    @property
    def limits(self) -> ServerLimits:
        """What `Welcome` promises."""
        config = self.config
        return ServerLimits(SEALED_BYTES, config.frames_per_second, config.bytes_per_second, config.joined)


def make_services(config: RelaySettings, stores: Stores, outside: Outside) -> Services:
    """Put a node together. To be called within Trio. Raises CertificateError."""
    node, metrics = outside.entropy(8).hex(), Metrics()
    outage, hub, changes = Outage(config.outage_patience), Hub(), Changes()
    flushing = Flushing()
    rosters, announcer = Rosters(stores.conversations), Announcer(stores.bus, metrics, pause=config.announce_pause)
    company = Company(announcer, hub, node=node)
    telling = Telling(hub, rosters)
    showing = Showing(hub, rosters, announce=announcer.announce, node=node, pause=config.presence_pause)
    table = Revocations()
    checker = TicketChecker(outside.ticket_public, table, clock=outside.clock)
    revocations = RevocationFeed(
        stores.devices, table, checker=checker, hub=hub, outage=outage, clock=outside.clock, metrics=metrics
    )
    return Services(
        node=node,
        config=config,
        metrics=metrics,
        static=outside.static,
        certificate=outside.certificate,
        clock=outside.clock,
        entropy=outside.entropy,
        dice=outside.dice,
        conversations=stores.conversations,
        mailbox=stores.mailbox,
        outage=outage,
        flushing=flushing,
        reactor=Reactor(flushing, metrics, rest=config.rest),
        hub=hub,
        rosters=rosters,
        standings=Standings(stores.conversations),
        reading=Reading(stores.mailbox, outage, metrics),
        telling=telling,
        showing=showing,
        announcer=announcer,
        company=company,
        journal=Journal(
            stores.journal,
            rosters=rosters,
            hub=hub,
            announce=announcer.announce,
            flushing=flushing,
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
            metrics=metrics,
        ),
        receipts=Receipts(
            stores.mailbox,
            rosters=rosters,
            telling=telling,
            announce=announcer.announce,
            flushing=flushing,
            outage=outage,
            node=node,
            pause=config.receipts_pause,
            metrics=metrics,
        ),
        changes=changes,
        checker=checker,
        revocations=revocations,
        admission=Admission(config, outside.dice, metrics),
        bridge=Bridge(
            node=node,
            hub=hub,
            rosters=rosters,
            changes=changes,
            telling=telling,
            showing=showing,
            revocations=revocations,
            company=company,
            metrics=metrics,
        ),
        draining=trio.Event(),
    )
