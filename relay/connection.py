"""One connection from its first byte to its last, and the one fence around it.

Refuses to let anything a peer does, or anything that goes wrong with it, reach another connection.
"""

import logging
import traceback
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import trio

from contract.closing import CloseCode
from contract.errors import PeerFault
from contract.session import Pattern
from relay.admission import Allowance
from relay.dispatch import dispatch
from relay.greeting import Greeted, greet
from relay.outbox import Outbox
from relay.peer import Line, Peer
from relay.presence import go_offline
from relay.refusing import refused_frame
from relay.services import Services
from relay.wire import BROKEN, Wire

SURPRISED: Final = (1011, "")
"""RFC 6455 section 7.4.1: the code and no reason, for an end that nobody chose."""
DRAINED: Final = (CloseCode.DRAINING.value, CloseCode.DRAINING.label)

_log: Final = logging.getLogger("varde.relay")


async def serve_connection(services: Services, stream: trio.abc.HalfCloseableStream, address: str) -> None:
    """Serve one connection and close its stream. Raises nothing unless the configuration is strict.

    ::

        serve_connection            the fence: a surprise ends this connection only
        ├─ greet                    alone, within the handshake deadline: HTTP, Noise, ticket
        └─ nursery                  cancelled by `cut`, by the peer's end, or by a surprise
           ├─ writer                seals and writes, alone; outlives the rest to close in good order
           ├─ mailbox               reads the log, while something is behind
           └─ this task             reads, and does what each frame asks for
    """
    wire = Wire(stream)
    async with stream:
        try:
            greeted = await _let_in(services, wire, address)
            if greeted is not None:
                async with trio.open_nursery() as nursery:
                    connection = Connection(services, wire, greeted, nursery)
                    nursery.start_soon(connection.write)
                    await connection.read()
                    nursery.cancel_scope.cancel()
        except BROKEN:
            return
        except Exception as surprise:
            _log.error("a connection ended with a surprise: %s", _name(surprise))
            if services.config.strict:
                raise


def _name(surprise: BaseException) -> str:
    """Say what happened and where, but no text: that may hold what a peer sent."""
    while isinstance(surprise, BaseExceptionGroup):
        surprise = surprise.exceptions[0]
    where = traceback.extract_tb(surprise.__traceback__)[-1]
    return f"{type(surprise).__name__} in {where.name}, {Path(where.filename).name}:{where.lineno}"


async def _let_in(services: Services, wire: Wire, address: str) -> Greeted | None:
    with ExitStack() as stay:
        return await _greet(services, wire, address) if services.admission.let_in(address, stay) else None


async def _greet(services: Services, wire: Wire, address: str) -> Greeted | None:
    code = CloseCode.HANDSHAKE_TIMEOUT
    with trio.move_on_after(services.config.handshake_deadline):
        try:
            greeted = await greet(services, wire, address)
        except PeerFault as fault:
            code = fault.close_code
        else:
            if greeted is not None:
                return greeted
    with trio.move_on_after(services.config.close_grace):
        wire.websocket.give_up()
        wire.websocket.close(code, code.label)
        await wire.flush()
        await wire.linger()
    return None


class Connection:
    """An authenticated connection: it alone owns its scope, others get `cut`."""

    def __init__(self, services: Services, wire: Wire, greeted: Greeted, nursery: trio.Nursery) -> None:
        self._services = services
        self._wire = wire
        self._session = greeted.session
        self._nursery = nursery
        self._allowance = Allowance(services.config)
        self._outbox = Outbox(services.config.outbox_bytes, lambda: self.cut(CloseCode.SLOW_CONSUMER))
        self._peer = Peer(
            greeted.ticket,
            self._outbox,
            Line(cut=self.cut, ping=self._ping, start=self._start),
            hub=services.hub,
            reading=services.reading,
            now=trio.current_time(),
        )
        self._proven = False
        self._proof = trio.CancelScope()
        self._last_words = trio.CancelScope(shield=True)
        self._closing = SURPRISED
        self._ended = False
        self._outbox.push_frame(greeted.welcome)

    def cut(self, code: CloseCode) -> None:
        """End the connection with a code; the first one counts. Nothing is read any more, and only the end written."""
        self._end(code, code.label)
        self._nursery.cancel_scope.cancel()

    async def read(self) -> None:
        """Read until the peer, or somebody here, ends it."""
        try:
            with self._proof:
                self._await_proof()
                while self._wire.websocket.open:
                    await self._read_once()
            if self._proof.cancelled_caught:
                self.cut(CloseCode.HANDSHAKE_TIMEOUT)
        except PeerFault as fault:
            self.cut(fault.close_code)
        except BROKEN:
            pass
        finally:
            self._services.hub.leave(self._peer)
            go_offline(self._services, self._peer)
            draining = self._services.draining.is_set()
            self._end(*(DRAINED if draining else SURPRISED))

    async def write(self) -> None:
        """Seal and write, in the order of the wire; then say the last word and wait for the answer, a while."""
        with self._last_words:
            try:
                while not self._ended:
                    await self._outbox.wait_work()
                    self._seal()
                    await self._wire.flush()
                self._wire.websocket.close(*self._closing)
                await self._wire.flush()
                await self._wire.linger()
            except BROKEN:
                self._nursery.cancel_scope.cancel()

    def _seal(self) -> None:
        # The one place where frames become ciphertext: its order is the order of the nonces.
        batch = self._outbox.take()
        if batch:
            self._wire.websocket.send(self._session.send_encoded(batch))

    def _await_proof(self) -> None:
        # Who finished XX is there: its last message answered our ephemeral key. The first message of IK may be a
        # replay, so nobody may notice it before a message has come that only the living can seal.
        if self._session.pattern is Pattern.XX:
            self._enter()
        else:
            self._proof.deadline = trio.current_time() + self._services.config.handshake_deadline

    def _enter(self) -> None:
        self._proven = True
        self._proof.deadline = float("inf")
        self._services.hub.enter(self._peer)
        # A revocation may have come between the ticket's check and now, when nobody could have cut this peer.
        self._services.revocations.judge(self._peer)

    async def _read_once(self) -> None:
        messages = await self._wire.read()
        self._peer.heard_at = trio.current_time()
        if self._wire.websocket.pending:
            self._outbox.ring()
        for message in messages:
            if self._ended:
                return
            await self._take(message)

    async def _take(self, message: bytes) -> None:
        frames = self._session.receive(message)
        if not self._proven:
            self._enter()
        refused = self._allowance.judge(len(frames), len(message))
        for frame in frames:
            if self._ended:
                return  # cut by what came before it
            refusal = refused or self._allowance.judge_frame(frame)
            if refusal is None:
                await dispatch(self._services, self._peer, frame)
            else:
                self._peer.tell(refused_frame(frame, refusal))

    def _ping(self) -> None:
        self._wire.websocket.ping()
        self._outbox.ring()

    def _start(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._nursery.start_soon(task)

    def _end(self, code: int, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self._closing = code, reason
            self._last_words.deadline = trio.current_time() + self._services.config.close_grace
            self._outbox.end()
