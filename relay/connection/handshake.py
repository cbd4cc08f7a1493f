"""The beginning of a connection: HTTP upgrade, Noise handshake, ticket, and the `Welcome` that answers it."""

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
from relay.socket.upgrade_response import answer
from varde_contract.closing import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.frames import Head, Welcome
from varde_contract.ids import ENTROPY_BYTES, SessionId, uuid7
from varde_contract.limits import HEADS_PER_WELCOME
from varde_contract.refusals import Refused
from varde_contract.session import ServerSession, State

_MS: Final = 1_000


class AuthenticatedSession(Struct, frozen=True):
    """Who is there, over which session, and what to say first."""

    session: ServerSession
    ticket: Ticket
    welcome: Welcome


async def authenticate(
    services: Services, transport: Transport, address: str
) -> AuthenticatedSession | HandshakeOutcome:
    """Take a connection from its first byte to a good ticket; or say what became of it, the answer being on its way.

    Raises PeerFault with what to close with, and BROKEN. The peer has the handshake's deadline, and the database as
    long again.
    """
    patience, session = services.config.handshake_deadline, None
    # One scope for both deadlines: another one costs as much as all of HTTP here.
    with ExitStack() as stay, trio.CancelScope(deadline=trio.current_time() + patience) as scope:
        ended = await _upgrade(services, transport, lambda claim: services.admission.knock(address, claim, stay))
        if ended is not None:
            return ended
        shaken = await _shake_hands(services, transport)
        if not scope.cancel_called:  # that it is too late may be known, and nobody told yet
            ticket = _check_ticket(services, shaken)
            session, scope.deadline = shaken, trio.current_time() + patience
            return AuthenticatedSession(session, ticket, await _welcome(services, ticket))
    raise _too_slow(services, transport) if session is None else _database_away(services)


def _too_slow(services: Services, transport: Transport) -> PeerFault:
    services.metrics.hostile[_what_took_long(transport)] += 1
    return PeerFault("the handshake took too long", CloseCode.HANDSHAKE_TIMEOUT)


def _database_away(services: Services) -> PeerFault:
    services.outage.failed()
    return PeerFault("the database is away", CloseCode.DATABASE_LOST)


def _what_took_long(transport: Transport) -> Hostility:
    if transport.websocket.upgraded or transport.shaking:
        return Hostility.SLOW_HANDSHAKE
    return Hostility.SLOW_HEADER if transport.websocket.asking else Hostility.IDLE


async def _upgrade(
    services: Services, transport: Transport, knock: Callable[[str], Refused | None]
) -> HandshakeOutcome | None:
    """None when it is a WebSocket now."""
    websocket = transport.websocket
    while websocket.request is None and not websocket.wants_eof:
        await transport.read()
    if websocket.request is not None:
        ended = answer(websocket, websocket.request, knock, ready=services.ready)
        if ended is None:
            await transport.flush()
        return ended
    if not websocket.unreadable:
        return HandshakeOutcome.VANISHED
    services.metrics.hostile[Hostility.NO_HTTP] += 1
    return HandshakeOutcome.NO_REQUEST


async def _shake_hands(services: Services, transport: Transport) -> ServerSession:
    session = ServerSession(services.static)
    while session.state is State.HANDSHAKE:
        for message in transport.websocket.take_messages() or await _read_open(transport):
            session.receive(message)
            reply = session.take_reply()
            if reply is not None:
                # Who has said all leaves it at that until `Welcome`: one packet holds both.
                transport.send(reply, more=session.state is not State.HANDSHAKE)
        await transport.flush()
    return session


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
    ticket = services.checker.check(hello.ticket, device=hello.device, noise_key=session.remote_static)
    session.hello = None  # read for good: ten thousand of them would only lie there
    if isinstance(ticket, Refused):
        raise PeerFault("the ticket does not hold", close_code(ticket.code))
    # Not before the device is known: one that replaces its own older connection takes no more room than it has.
    if len(services.hub) >= services.config.connections and services.hub.find(ticket.device) is None:
        raise PeerFault("the node is full", CloseCode.OVERLOADED)
    return ticket


async def _welcome(services: Services, ticket: Ticket) -> Welcome:
    try:
        standings = await services.standings.list_for(ticket.device, None, HEADS_PER_WELCOME + 1)
    except StoreUnavailable:
        raise _database_away(services) from None
    services.outage.answered()
    now_ms = services.clock()
    return Welcome(
        session=SessionId(uuid7(now_ms, services.entropy(ENTROPY_BYTES))),
        time=now_ms,
        heartbeat_ms=round(services.config.heartbeat * _MS),
        limits=services.limits,
        heads=tuple(map(_head, standings[:HEADS_PER_WELCOME])),
        more=len(standings) > HEADS_PER_WELCOME,
    )


def _head(standing: ConversationHead) -> Head:
    return Head(standing.conversation, standing.head, standing.upto, standing.roster_version)
