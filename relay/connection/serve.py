"""One connection from its first byte to its last, and the one place that catches a surprise in it."""

import logging
import socket
from contextlib import ExitStack, suppress
from typing import Final

import trio

from observability.surprises import note_surprise
from observability.tracing import span
from relay.connection.established import EstablishedConnection
from relay.connection.handshake import AuthenticatedSession, authenticate
from relay.metrics.labels import HANDSHAKE_CLOSE_CODES, HandshakeOutcome, Hostility, hostility_of_fault
from relay.services import Services
from relay.socket.proxy_protocol import is_trusted, read_client_address
from relay.socket.transport import CONNECTION_LOST, Transport
from varde_contract.close_codes import CloseCode
from varde_contract.errors import PeerFault

_log: Final = logging.getLogger("varde.relay")


async def serve_connection(services: Services, sock: socket.socket, address: str) -> None:
    """Serve one connection and close its socket. Raises nothing unless the settings are strict.

    ::

        serve_connection            catches a surprise, so that it ends this connection only
        ├─ PROXY header             from trusted load balancers alone
        ├─ authenticate             within the handshake deadline: TLS, HTTP, Noise, ticket
        ├─ nursery                  cancelled by `cut`, by the peer's end, or by a surprise
        │  ├─ mailbox               reads the log while a listener is behind
        │  └─ this task             parked; the reactor reads and writes. Woken for frames that wait for a store
        └─ close                    the close frame and its answer, within the close grace
    """
    transport = Transport(sock, services.reactor, services.open_tls())
    try:
        client = await _client_address(services, sock, address)
        authenticated = None if client is None else await _admit(services, transport, client)
        if authenticated is not None:
            connection = EstablishedConnection(services, transport, authenticated)
            try:
                async with trio.open_nursery() as nursery:
                    await connection.run(nursery)
                    nursery.cancel_scope.cancel()
            finally:
                await connection.end()
    # Counted where it was noticed, and there is nobody left to tell.
    except CONNECTION_LOST:
        return
    except Exception as surprise:
        note_surprise(_log, "a connection ended with a surprise", surprise)
        if services.settings.strict:
            raise
    finally:
        transport.close()


async def _client_address(services: Services, sock: socket.socket, address: str) -> str | None:
    """Return whom a connection is from. None when a trusted balancer did not say so: it gets no answer."""
    trusted = services.settings.proxy_protocol
    if not trusted or not is_trusted(address, trusted):
        return address
    try:
        with trio.fail_after(services.settings.handshake_deadline):
            return await read_client_address(sock, address)
    except (PeerFault, trio.TooSlowError):
        services.metrics.hostile[Hostility.NO_PROXY_HEADER] += 1
        return None


async def _admit(services: Services, transport: Transport, address: str) -> AuthenticatedSession | None:
    """Count a connection as unauthenticated until it has said who it is. None when it was turned away."""
    with ExitStack() as stay:
        if not services.admission.admit_connection(address, stay):
            return None
        code, reason = CloseCode.HANDSHAKE_FAILED, CloseCode.HANDSHAKE_FAILED.label
        try:
            authenticated = await _authenticate(services, transport, address)
        except PeerFault as fault:
            code, reason = fault.close_code, fault.close_reason
        else:
            if authenticated is not None:
                return authenticated
        # Still counted as unauthenticated: whoever lingers after a refusal holds a socket like any stranger.
        await _turn_away(services, transport, code, reason)
    return None


async def _authenticate(services: Services, transport: Transport, address: str) -> AuthenticatedSession | None:
    """Authenticate, and count the outcome once, unless the node ends meanwhile."""
    handshakes = services.metrics.handshakes
    try:
        with span("handshake"):
            authenticated = await authenticate(services, transport, address)
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
    if isinstance(authenticated, AuthenticatedSession):
        handshakes[HandshakeOutcome.ACCEPTED] += 1
        return authenticated
    handshakes[authenticated] += 1
    return None


async def _turn_away(services: Services, transport: Transport, code: CloseCode, reason: str) -> None:
    """Send the answer or the close frame, and wait for the peer to hang up within the close grace."""
    # PeerFault: it does not read its answer.
    with trio.move_on_after(services.settings.close_grace) as grace, suppress(PeerFault):
        transport.close_protocol(code, reason)
        await transport.flush()
        await transport.linger()
    services.metrics.hostile[Hostility.SLOW_CLOSE] += grace.cancelled_caught
