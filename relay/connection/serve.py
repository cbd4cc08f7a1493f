"""One connection from its first byte to its last, and the one fence around it."""

import logging
import socket
from contextlib import ExitStack, suppress
from typing import Final

import trio

from relay.connection.established import Live
from relay.connection.handshake import Greeted, greet
from relay.metrics.hostility import hostility_of
from relay.metrics.words import HANDSHAKE_ENDS, Handshake, Hostility
from relay.services import Services
from relay.socket.wire import BROKEN, Wire
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
    wire = Wire(sock, services.reactor, services.open_tls())
    try:
        greeted = await _let_in(services, wire, address)
        if greeted is not None:
            live = Live(services, wire, greeted)
            try:
                async with trio.open_nursery() as nursery:
                    await live.run(nursery)
                    nursery.cancel_scope.cancel()
            finally:
                await live.end()
    except BROKEN:
        return
    except Exception as surprise:
        _log.error("a connection ended with a surprise: %s", locate(surprise))
        if services.config.strict:
            raise
    finally:
        wire.close()


async def _let_in(services: Services, wire: Wire, address: str) -> Greeted | None:
    with ExitStack() as stay:
        if not services.admission.let_in(address, stay):
            return None  # and counted there
        code = CloseCode.HANDSHAKE_FAILED
        try:
            greeted = await _greet(services, wire, address)
        except PeerFault as fault:
            code = fault.close_code
        else:
            if greeted is not None:
                return greeted
        await _part(services, wire, code)
    return None


async def _greet(services: Services, wire: Wire, address: str) -> Greeted | None:
    """Greet, and count what becomes of it: once, unless the node ends in the middle."""
    handshakes = services.metrics.handshakes
    try:
        greeted = await greet(services, wire, address)
    except PeerFault as fault:
        handshakes[HANDSHAKE_ENDS[fault.close_code]] += 1
        hostility = wire.websocket.broken or hostility_of(fault)
        if hostility is not None:
            services.metrics.hostile[hostility] += 1
        raise
    except BROKEN:
        handshakes[Handshake.VANISHED] += 1
        raise
    except Exception:
        handshakes[Handshake.SURPRISE] += 1
        raise
    if isinstance(greeted, Greeted):
        handshakes[Handshake.ACCEPTED] += 1
        return greeted
    handshakes[greeted] += 1
    return None


async def _part(services: Services, wire: Wire, code: CloseCode) -> None:
    """Give a newcomer its answer, or say what was wrong, and wait for it to hang up within the close grace."""
    with trio.move_on_after(services.config.close_grace) as grace, suppress(PeerFault):  # it does not read its answer
        wire.websocket.give_up()
        wire.websocket.close(code, code.label)
        await wire.flush()
        await wire.linger()
    services.metrics.hostile[Hostility.SLOW_CLOSE] += grace.cancelled_caught
