"""The parts of a node: one frozen object that everything in the node is handed, made in one place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import trio

from domain.budgets import ALLOWANCES, Allowance, Budget, Budgets
from domain.fleet.model import NodeReport, NodeState
from domain.people.revocations import Revocations
from domain.people.tickets import TicketChecker
from domain.ports import Bus, Clock, Entropy, SpendingStore, Stores
from domain.talk.ports import ConversationStore, MailboxStore
from relay.cache.batched_reads import ConversationHeads, LogReader
from relay.cache.epochs import Epochs
from relay.cache.outage import Outage
from relay.cache.revocations import RevocationFeed
from relay.cache.rosters import Rosters
from relay.connection.admission import Admission
from relay.delivery.hub import Hub
from relay.delivery.journal import Journal, Limits
from relay.delivery.notifier import Notifier
from relay.delivery.presence import PresenceNotifier
from relay.delivery.receipts import Receipts
from relay.draining import Orders
from relay.fleet.bridge import Bridge, RosterChanges
from relay.fleet.device_connections import DeviceConnections
from relay.fleet.peer_nodes import PeerNodes
from relay.fleet.publisher import Publisher
from relay.fleet.stale_heads import StaleHeads
from relay.metrics.counters import Metrics
from relay.readiness import Readiness
from relay.socket.flush_scheduler import FlushScheduler
from relay.socket.reactor import Reactor
from settings.relay import RelaySettings
from tls.certificate import TlsCertificate
from tls.connection import Tls
from varde_contract.frames import ServerLimits
from varde_contract.kem import MlKemKeyPair
from varde_contract.limits import CIPHERTEXT_BYTES
from varde_contract.noise import KeyPair


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What a node is given besides settings and stores: keys, time and randomness. `static` is its Noise key pair.

    `other_keys` and all `ticket_publics` are accepted as well, while keys change.

    Without `kem`, post-quantum handshakes are refused. Without a `certificate`, TLS ends in front of the node, or there
    is none.
    """

    static: KeyPair
    ticket_publics: Sequence[bytes]
    clock: Clock
    monotonic_clock: Clock
    """For budgets: with one that can be set back, everybody would be refused for as long as it was set back."""
    entropy: Entropy
    random: Random
    kem: MlKemKeyPair | None = None
    other_keys: Sequence[tuple[KeyPair, MlKemKeyPair]] = ()
    certificate: TlsCertificate | None = None
    metrics_certificate: TlsCertificate | None = None
    version: str = "0"
    allowances: Mapping[Budget, Allowance] = field(default_factory=lambda: ALLOWANCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of one node. `node` is its name, a new one with each start: that of the settings, and four bytes."""

    node: str
    settings: RelaySettings
    metrics: Metrics
    static: KeyPair
    kem: MlKemKeyPair | None
    other_keys: Sequence[tuple[KeyPair, MlKemKeyPair]]
    certificate: TlsCertificate | None
    metrics_certificate: TlsCertificate | None
    clock: Clock
    entropy: Entropy
    random: Random
    conversations: ConversationStore
    mailbox: MailboxStore
    bus: Bus
    outage: Outage
    budgets: Budgets
    spending: SpendingStore
    flush_scheduler: FlushScheduler
    reactor: Reactor
    hub: Hub
    rosters: Rosters
    epochs: Epochs
    conversation_heads: ConversationHeads
    log_reader: LogReader
    notifier: Notifier
    presence_notifier: PresenceNotifier
    publisher: Publisher
    peer_nodes: PeerNodes
    orders: Orders
    device_connections: DeviceConnections
    stale_heads: StaleHeads
    journal: Journal
    receipts: Receipts
    roster_changes: RosterChanges
    checker: TicketChecker
    revocations: RevocationFeed
    admission: Admission
    bridge: Bridge
    readiness: Readiness
    stop: trio.Event
    """Set when the node is to drain and end: by a signal, or by its operator's order."""
    draining: trio.Event
    """Set when the node begins to drain."""

    @property
    def ready(self) -> bool:
        """Whether a load balancer may send clients here."""
        return not self.readiness.reasons

    def begin_drain(self) -> None:
        """Accept nobody new, because the node shuts down in good order."""
        self.draining.set()
        self.admission.closed = True

    def open_tls(self) -> Tls | None:
        """Make the TLS of one more connection; None without a certificate."""
        return None if self.certificate is None else self.certificate.make_tls()

    @property
    def limits(self) -> ServerLimits:
        """The limits that `Welcome` tells clients."""
        settings = self.settings
        return ServerLimits(CIPHERTEXT_BYTES, settings.frames_per_second, settings.bytes_per_second, settings.joined)


def make_services(
    settings: RelaySettings, stores: Stores, dependencies: Dependencies, stop: trio.Event | None = None
) -> Services:
    """Make the parts of a node. To be called within Trio. `stop` is set when the node is to drain and end."""
    node, metrics = f"{settings.name}-{dependencies.entropy(4).hex()}", Metrics()
    stop, draining = trio.Event() if stop is None else stop, trio.Event()
    outage, hub, roster_changes = Outage(settings.outage_patience), Hub(), RosterChanges(settings.changes_pause)
    flush_scheduler = FlushScheduler()
    budgets = Budgets(clock=dependencies.monotonic_clock, allowances=dependencies.allowances)
    epochs = Epochs(stores.epochs, hub.cut_all)
    rosters, publisher = Rosters(stores.conversations), Publisher(stores.bus, metrics, pause=settings.announce_pause)
    stale_heads = StaleHeads(hub)
    device_connections = DeviceConnections(
        hub, stores.bus, publish=publisher.publish, node=node, clock=dependencies.clock
    )
    notifier = Notifier(hub, rosters)
    presence_notifier = PresenceNotifier(
        hub, rosters, publish=publisher.publish, node=node, pause=settings.presence_pause
    )
    orders = Orders(hub, dependencies.random, stop)
    started_ms = dependencies.clock()

    def report() -> NodeReport:
        return NodeReport(
            name=node,
            address="",
            version=dependencies.version,
            started_ms=started_ms,
            connections=len(hub),
            capacity=settings.connections,
            bus=stores.bus.connected,
            state=NodeState.DRAINING if draining.is_set() else NodeState.SERVING,
        )

    peer_nodes = PeerNodes(stores.nodes, publisher, stale_heads, presence_notifier, report=report, obey=orders.obey)
    table = Revocations()
    checker = TicketChecker(dependencies.ticket_publics, table, clock=dependencies.clock)
    revocations = RevocationFeed(
        stores.devices, table, checker=checker, hub=hub, outage=outage, clock=dependencies.clock, metrics=metrics
    )
    return Services(
        node=node,
        settings=settings,
        metrics=metrics,
        static=dependencies.static,
        kem=dependencies.kem,
        other_keys=dependencies.other_keys,
        certificate=dependencies.certificate,
        metrics_certificate=dependencies.metrics_certificate,
        clock=dependencies.clock,
        entropy=dependencies.entropy,
        random=dependencies.random,
        conversations=stores.conversations,
        mailbox=stores.mailbox,
        spending=stores.spending,
        bus=stores.bus,
        outage=outage,
        budgets=budgets,
        flush_scheduler=flush_scheduler,
        reactor=Reactor(flush_scheduler, metrics, rest=settings.rest),
        hub=hub,
        rosters=rosters,
        epochs=epochs,
        conversation_heads=ConversationHeads(stores.conversations),
        log_reader=LogReader(stores.mailbox, epochs, outage, metrics),
        notifier=notifier,
        presence_notifier=presence_notifier,
        publisher=publisher,
        peer_nodes=peer_nodes,
        orders=orders,
        device_connections=device_connections,
        stale_heads=stale_heads,
        journal=Journal(
            stores.journal,
            rosters=rosters,
            hub=hub,
            publish=publisher.publish,
            flush_scheduler=flush_scheduler,
            outage=outage,
            epochs=epochs,
            budgets=budgets,
            node=node,
            shards=settings.shards,
            limits=Limits(
                queue=settings.queue_drafts,
                queue_bytes=settings.queue_bytes,
                batch=settings.batch_drafts,
                batch_bytes=settings.batch_bytes,
                deadline=settings.commit_deadline,
            ),
            metrics=metrics,
        ),
        receipts=Receipts(
            stores.mailbox,
            rosters=rosters,
            notifier=notifier,
            publish=publisher.publish,
            flush_scheduler=flush_scheduler,
            outage=outage,
            node=node,
            pause=settings.receipts_pause,
            metrics=metrics,
        ),
        roster_changes=roster_changes,
        checker=checker,
        revocations=revocations,
        admission=Admission(settings, dependencies.random, metrics),
        bridge=Bridge(
            node=node,
            hub=hub,
            rosters=rosters,
            roster_changes=roster_changes,
            notifier=notifier,
            presence_notifier=presence_notifier,
            revocations=revocations,
            device_connections=device_connections,
            stale_heads=stale_heads,
            metrics=metrics,
        ),
        readiness=Readiness(
            stores.schema, stores.bus, outage, hub, peer_nodes, draining, capacity=settings.connections
        ),
        stop=stop,
        draining=draining,
    )
