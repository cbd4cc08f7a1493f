"""The life of a relay node, in one function. Nesting is shutdown order."""

import logging
from functools import partial
from typing import Final, NoReturn

import trio

from domain.ports import Stores
from domain.spending import PERIOD, share_spending, shared_budgets
from observability.loop_lateness import run_loop_lateness
from relay.connection.serve import serve_connection
from relay.draining import ask_to_go
from relay.fleet.journal_tail import run_journal_tail
from relay.fleet.membership_sync import run_membership_sync
from relay.fleet.resync import run_head_lookups, run_resync
from relay.garbage_collection import run_garbage_collection
from relay.heartbeat import run_heartbeat
from relay.metrics.exposition import start_node_metrics
from relay.services import Dependencies, Services, make_services
from relay.socket.listeners import address_of, open_listeners, run_listener
from settings.relay import RelaySettings
from tls.certificate import watch_certificates
from varde_contract.close_codes import CloseCode

FLUSH: Final = 5.0
"""Seconds to commit and publish what was accepted, after the last connection has ended."""
TURN_AWAY: Final = 1.0
"""Seconds to answer the last clients that connected, before the node is gone."""
POLL: Final = 0.05
"""Seconds between two looks at whether that is done."""

_log: Final = logging.getLogger("varde.relay")


async def run_node(
    settings: RelaySettings,
    stores: Stores,
    dependencies: Dependencies,
    stop: trio.Event,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a node until `stop` is set, by the caller or by an order, then drain it. Started with its address.

    ::

        run_node
        └─ stores                 the caller's: they die last
           └─ bridge              from the bus to the hub; its death makes every local listener resync
              └─ services         heartbeat, journal, reactor, receipts, ...: they outlive every connection
                 └─ connections   one task each; they have a deadline when the node drains
                    └─ listeners  cancelled first

    Raises StoreUnavailable when the store does not answer at the start, OSError when the address cannot be had.
    """
    services = make_services(settings, stores, dependencies, stop)
    # Listen first, then read the snapshot: a revocation in between is seen twice rather than never.
    with services.bridge.listen(stores.bus):
        await services.revocations.load()
        async with trio.open_nursery() as running:
            start_services(services, running)
            running.start_soon(run_garbage_collection, services)
            await start_node_metrics(services, running)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as listening:
                    await _start_listeners(services, listening, connections)
                    task_status.started(services.peer_nodes.address)
                    await stop.wait()  # without a deadline: this is the node's life
                    services.begin_drain()
                    await services.peer_nodes.beat()  # nobody shall take it for one that others may be sent to
                    listening.cancel_scope.cancel()
                await _drain(services)
                connections.cancel_scope.cancel()
            await _flush(services)
            running.cancel_scope.cancel()
        await services.peer_nodes.leave()


def start_services(services: Services, nursery: trio.Nursery) -> None:
    """Start what runs beside the connections."""
    nursery.start_soon(services.reactor.run)
    for shard in services.journal.shards:
        nursery.start_soon(services.journal.run_writer, shard)
    nursery.start_soon(services.receipts.run)
    nursery.start_soon(services.publisher.run)
    nursery.start_soon(services.peer_nodes.run)
    nursery.start_soon(services.orders.run)
    nursery.start_soon(services.readiness.run)
    nursery.start_soon(services.notifier.run)
    nursery.start_soon(services.presence_notifier.run)
    nursery.start_soon(services.revocations.run)
    nursery.start_soon(services.epochs.run)
    nursery.start_soon(_run_shared_budgets, services)
    certificates = services.certificate, services.metrics_certificate
    nursery.start_soon(watch_certificates, [each for each in certificates if each is not None])
    nursery.start_soon(run_membership_sync, services)
    nursery.start_soon(run_journal_tail, services)
    nursery.start_soon(run_resync, services)
    nursery.start_soon(run_head_lookups, services)
    nursery.start_soon(run_heartbeat, services)
    nursery.start_soon(run_loop_lateness, services.admission.note_lateness)


async def _run_shared_budgets(services: Services) -> NoReturn:
    """Let budgets hold over all nodes and the API, for as long as the node lives."""
    shared = shared_budgets(services.budgets)
    while True:
        await trio.sleep(PERIOD)
        await share_spending(services.spending, shared)


async def _start_listeners(services: Services, listening: trio.Nursery, connections: trio.Nursery) -> None:
    settings = services.settings
    listeners = await open_listeners(settings.host, settings.port, reuse_port=settings.reuse_port)
    services.peer_nodes.address = address_of(listeners[0])
    await services.peer_nodes.beat()  # before anybody listens here: see PeerNodes
    serve = partial(serve_connection, services)
    for listener in listeners:
        listening.start_soon(run_listener, listener, connections, serve)


async def _drain(services: Services) -> None:
    """Ask all clients to go, one after the other, then cut them. The caller cancels handshakes that take longer."""
    _log.info("draining %d connections", len(services.hub))
    # Whoever finishes a handshake meanwhile is cut as it enters the hub.
    await ask_to_go(services.hub, tuple(services.hub.peers), services.settings.drain_deadline)
    with trio.move_on_after(TURN_AWAY):
        await trio.sleep(POLL)  # for connections that were accepted a moment ago
        while services.admission.unauthenticated:  # noqa: ASYNC110 - once in the life of a node
            await trio.sleep(POLL)
    for peer in services.hub.peers:
        peer.connection.cut(CloseCode.DRAINING)


async def _flush(services: Services) -> None:
    with trio.move_on_after(FLUSH):
        queues = (services.journal, services.receipts, services.presence_notifier, services.publisher)
        while not all(queue.idle for queue in queues):  # noqa: ASYNC110 - four queues, once in the life of a node
            await trio.sleep(POLL)
