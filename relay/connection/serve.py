"""One connection from its first byte to its last, and the one fence around it."""

import logging
import socket
from contextlib import ExitStack, suppress
from typing import Final

import trio

from relay.connection.established import EstablishedConnection
from relay.connection.handshake import AuthenticatedSession, authenticate
from relay.metrics.labels import HANDSHAKE_CLOSE_CODES, HandshakeOutcome, Hostility, hostility_of_fault
from relay.services import Services
from relay.socket.transport import CONNECTION_LOST, Transport
from varde_contract.closing import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.exception_groups import locate

_log: Final = logging.getLogger("varde.relay")


async def serve_connection(services: Services, sock: socket.socket, address: str) -> None:
    """Serve one connection and close its socket. Raises nothing unless the configuration is strict.

    ::

        serve_connection            the fence: a surprise ends this connection only
        ├─ greet                    alone, within the handshake deadline: TLS, HTTP, Noise, ticket
        ├─ nursery                  cancelled by `cut`, by the peer's end, or by a surprise
        │  ├─ mailbox               reads the log, while something is behind
        │  └─ this task             parked; the reactor reads and writes. Woken for what has to wait for a store
        └─ last words               the close frame and its answer, within the close grace
    """
    transport = Transport(sock, services.reactor, services.open_tls())
    try:
        greeted = await _let_in(services, transport, address)
        if greeted is not None:
            live = EstablishedConnection(services, transport, greeted)
            try:
                async with trio.open_nursery() as nursery:
                    await live.run(nursery)
                    nursery.cancel_scope.cancel()
            finally:
                await live.end()
    except CONNECTION_LOST:
        return
    except Exception as surprise:
        _log.error("a connection ended with a surprise: %s", locate(surprise))
        if services.config.strict:
            raise
    finally:
        transport.close()


async def _let_in(services: Services, transport: Transport, address: str) -> AuthenticatedSession | None:
    with ExitStack() as stay:
        if not services.admission.let_in(address, stay):
            return None  # and counted there
        code = CloseCode.HANDSHAKE_FAILED
        try:
            greeted = await _greet(services, transport, address)
        except PeerFault as fault:
            code = fault.close_code
        else:
            if greeted is not None:
                return greeted
        await _part(services, transport, code)
    return None


async def _greet(services: Services, transport: Transport, address: str) -> AuthenticatedSession | None:
    """Greet, and count what becomes of it: once, unless the node ends in the middle."""
    handshakes = services.metrics.handshakes
    try:
        greeted = await authenticate(services, transport, address)
    except PeerFault as fault:
        handshakes[HANDSHAKE_CLOSE_CODES[fault.close_code]] += 1
        hostility = transport.websocket.broken or hostility_of_fault(fault)
        if hostility is not None:
            services.metrics.hostile[hostility] += 1
        raise
    except CONNECTION_LOST:
        handshakes[HandshakeOutcome.VANISHED] += 1
        raise
    except Exception:
        handshakes[HandshakeOutcome.SURPRISE] += 1
        raise
    if isinstance(greeted, AuthenticatedSession):
        handshakes[HandshakeOutcome.ACCEPTED] += 1
        return greeted
    handshakes[greeted] += 1
    return None


async def _part(services: Services, transport: Transport, code: CloseCode) -> None:
    """Give a newcomer its answer, or say what was wrong, and wait for it to hang up within the close grace."""
    with trio.move_on_after(services.config.close_grace) as grace, suppress(PeerFault):  # it does not read its answer
        transport.websocket.give_up()
        transport.websocket.close(code, code.label)
        await transport.flush()
        await transport.linger()
    services.metrics.hostile[Hostility.SLOW_CLOSE] += grace.cancelled_caught
