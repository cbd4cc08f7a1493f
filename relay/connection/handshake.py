"""The beginning of a connection: HTTP upgrade, Noise handshake, ticket check, and the `Welcome` that answers it."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import trio
from msgspec import Struct

from domain.people.tickets import Ticket
from domain.ports import StoreUnavailable
from domain.talk.model import ConversationHead
from relay.frames.refusals import close_code
from relay.metrics.labels import HandshakeOutcome, Hostility
from relay.services import Services
from relay.socket.transport import Transport
from varde_contract.close_codes import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.frames import Head, Welcome
from varde_contract.ids import ENTROPY_BYTES, SessionId, uuid7
from varde_contract.limits import HEADS_PER_WELCOME
from varde_contract.refusals import Refused
from varde_contract.session import ServerSession, State

_MS: Final = 1_000


class AuthenticatedSession(Struct, frozen=True):
    """A finished handshake: the session, the ticket it was proven with, the first frame to send, and its number."""

    session: ServerSession
    ticket: Ticket
    welcome: Welcome
    number: int
    """Of this connection among all that the device had, on any node."""


async def authenticate(
    services: Services, transport: Transport, address: str
) -> AuthenticatedSession | HandshakeOutcome:
    """Take a connection from its first byte to a good ticket, or answer it and return what became of it.

    Raises PeerFault with what to close with, and CONNECTION_LOST. The peer has the handshake's deadline, and the
    database has as long again.
    """
    patience, session = services.settings.handshake_deadline, None
    # One scope for both deadlines: a second one costs as much as all of the HTTP here.
    with ExitStack() as stay, trio.CancelScope(deadline=trio.current_time() + patience) as scope:
        outcome = await _upgrade(
            services, transport, lambda forwarded: services.admission.admit_handshake(address, forwarded, stay)
        )
        if outcome is not None:
            return outcome
        noise, number = await _run_noise(services, transport)
        if not scope.cancel_called:  # the deadline may have passed since the last checkpoint
            ticket = _check_ticket(services, noise)
            session, scope.deadline = noise, trio.current_time() + patience
            return AuthenticatedSession(session, ticket, await _welcome(services, ticket), number)
    raise _too_slow(services, transport) if session is None else _database_away(services)


def _too_slow(services: Services, transport: Transport) -> PeerFault:
    services.metrics.hostile[_what_took_long(transport)] += 1
    return PeerFault("the handshake took too long", CloseCode.HANDSHAKE_TIMEOUT)


def _database_away(services: Services) -> PeerFault:
    services.outage.failed()
    return PeerFault("the database is away", CloseCode.DATABASE_LOST)


def _what_took_long(transport: Transport) -> Hostility:
    if transport.http is None or transport.tls_handshaking:
        return Hostility.SLOW_HANDSHAKE
    return Hostility.SLOW_HEADER if transport.http.begun else Hostility.IDLE


async def _upgrade(
    services: Services, transport: Transport, admit: Callable[[str], Refused | None]
) -> HandshakeOutcome | None:
    """Read the request and answer it. None when it is a WebSocket now, otherwise what became of it."""
    http = transport.http
    assert http is not None
    while http.request is None and not http.wants_eof:
        await transport.read()
    if http.request is not None:
        outcome = http.answer(admit, unready=services.readiness.reasons)
        if outcome is None:
            transport.upgrade()
            await transport.flush()
        return outcome
    if not http.unreadable:
        return HandshakeOutcome.VANISHED
    services.metrics.hostile[Hostility.NO_HTTP] += 1
    return HandshakeOutcome.NO_REQUEST


async def _run_noise(services: Services, transport: Transport) -> tuple[ServerSession, int]:
    session, number = ServerSession(services.static, services.kem, others=services.other_keys), 0
    while session.state is State.HANDSHAKE:
        # The first message may have come in the same read as the upgrade request.
        for message in transport.websocket.take_messages() or await _read_open(transport):
            session.receive(message)
            reply = session.take_reply()
            if reply is not None:
                number = number or services.device_connections.draw_number()
                # The handshake's last message waits in the kernel for `Welcome`, so that one packet holds both.
                transport.send(reply, more=session.state is not State.HANDSHAKE)
        await transport.flush()
    return session, number


async def _read_open(transport: Transport) -> list[bytes]:
    websocket = transport.websocket
    messages = await transport.read() if websocket.open else []
    if websocket.open:
        return messages
    await transport.flush()
    if websocket.broken is None:
        raise ConnectionAbortedError("the peer closed in the middle of the handshake")
    raise PeerFault("the peer broke the WebSocket in the middle of the handshake")


def _check_ticket(services: Services, session: ServerSession) -> Ticket:
    hello = session.hello
    assert hello is not None
    # Signature and table of revocations only: a reconnect storm touches neither the API nor the accounts tables.
    ticket = services.checker.check(hello.ticket, device=hello.device, noise_key=session.remote_static)
    session.hello = None  # nobody reads it again, and ten thousand of them take memory
    if isinstance(ticket, Refused):
        raise PeerFault("the ticket does not hold", close_code(ticket.code))
    # Only now that the device is known: one that replaces its own older connection takes no further place.
    if len(services.hub) >= services.settings.connections and services.hub.find(ticket.device) is None:
        raise PeerFault("the node is full", CloseCode.OVERLOADED)
    return ticket


async def _welcome(services: Services, ticket: Ticket) -> Welcome:
    try:
        # One more than is told, to know whether there are more.
        heads = await services.conversation_heads.list_for(ticket.device, None, HEADS_PER_WELCOME + 1)
    except StoreUnavailable:
        raise _database_away(services) from None
    services.outage.answered()
    now_ms = services.clock()
    return Welcome(
        session=SessionId(uuid7(now_ms, services.entropy(ENTROPY_BYTES))),
        time=now_ms,
        heartbeat_ms=round(services.settings.heartbeat * _MS),
        limits=services.limits,
        heads=tuple(map(_head, heads[:HEADS_PER_WELCOME])),
        more=len(heads) > HEADS_PER_WELCOME,
        epoch=services.epochs.current,
    )


def _head(head: ConversationHead) -> Head:
    return Head(head.conversation, head.head, head.upto, head.roster_version, head.own_seq)
