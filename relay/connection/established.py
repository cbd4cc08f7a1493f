"""An established connection: what comes is done, what waits in its outbox is sealed and sent.

Its own task is parked, and is there to own what ends with the connection, to be cancelled, and to wait for stores when
a frame asks for something that is not in memory.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

import trio
from msgspec import Struct

from relay.connection.admission import RateLimiter
from relay.connection.handshake import AuthenticatedSession
from relay.connection.outbox import Outbox
from relay.connection.peer import Line, Peer
from relay.frames.dispatch import dispatch, run_deferred
from relay.frames.presence import go_offline
from relay.frames.refusals import Deferred, refused_frame
from relay.metrics.counters import SeveralFrames
from relay.metrics.labels import CLIENT_CLOSE_CODES, UNKNOWN_CODE, Hostility, hostility_of_fault
from relay.services import Services
from relay.socket.transport import CONNECTION_LOST, Transport
from varde_contract.closing import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.frames import ClientFrame
from varde_contract.refusals import Refused
from varde_contract.session import Pattern

SURPRISED: Final = (1011, "")
"""RFC 6455 section 7.4.1: the code and no reason, for an end that nobody chose."""
DRAINED: Final = (CloseCode.DRAINING.value, CloseCode.DRAINING.label)


class _Waiting(NamedTuple):
    """A frame that has to wait for a store, and what is to be done after it."""

    frame: ClientFrame
    deferred: Deferred
    rest: Iterator[tuple[ClientFrame, Refused | None]]


class EstablishedConnection:
    """An authenticated connection: it alone owns its scope, others get `cut`."""

    __slots__ = (
        "_allowance",
        "_closing",
        "_ended",
        "_flush_scheduler",
        "_lost",
        "_metrics",
        "_nursery",
        "_outbox",
        "_peer",
        "_proof",
        "_proven",
        "_reactor",
        "_services",
        "_session",
        "_surprise",
        "_task",
        "_transport",
        "_waiting",
    )

    def __init__(self, services: Services, transport: Transport, greeted: AuthenticatedSession) -> None:
        self._services = services
        self._flush_scheduler = services.flush_scheduler
        self._metrics = services.metrics
        self._reactor = services.reactor
        self._transport = transport
        self._session = greeted.session
        self._allowance = RateLimiter(services.config, services.reactor.now)
        self._outbox = Outbox(
            services.config.outbox_bytes,
            overflow=self._overflow,
            direct=self.send_now,
            ring=partial(services.flush_scheduler.ring, self),
            drops=services.metrics.dropped,
        )
        self._peer = Peer(
            greeted.ticket,
            self._outbox,
            Line(cut=self.cut, ping=self.ping, start=self._start),
            hub=services.hub,
            reading=services.reading,
            now=trio.current_time(),
        )
        self._nursery: trio.Nursery | None = None
        self._task: trio.lowlevel.Task | None = None
        self._waiting: _Waiting | None = None
        self._proven = False
        self._proof: trio.CancelScope | None = None
        self._closing = SURPRISED
        self._ended = False
        self._lost = False
        self._surprise: Exception | None = None
        self._outbox.push_frame(greeted.welcome)

    async def run(self, nursery: trio.Nursery) -> None:
        """Be there until `cut`, the peer, or a surprise ends it; `nursery` is then cancelled, or to be."""
        self._nursery = nursery
        self._transport.hand_over(self)
        self._watch()  # Welcome may be on its way still
        try:
            # Who finished XX is there: its last message answered our ephemeral key. The first message of IK may be a
            # replay, so nobody may notice it before a message has come that only the living can seal.
            if self._session.pattern is Pattern.XX:
                self._enter()
            else:
                await self._wait_proof()
            while not self._ended:
                await self._work()
        finally:
            # Before the nursery closes: whoever finds this peer in the hub may start something in it.
            self._leave()

    async def end(self) -> None:
        """Say the last word, and wait for its answer within the close grace. Raises what was a surprise."""
        self._count_end()
        if not self._lost:
            await self._say_last_word()
        if self._surprise is not None:
            raise self._surprise

    def _count_end(self) -> None:
        """Count by the close code that was sent first, by whichever side. To be called before `websocket.close`."""
        websocket = self._transport.websocket
        code = None if self._lost else self._closing[0]
        if code is not None and not websocket.open:
            code = websocket.ended_with
            if code is not None and not websocket.broken and code not in CLIENT_CLOSE_CODES:
                code = UNKNOWN_CODE
        self._metrics.closed[code] += 1
        if websocket.broken is not None:
            self._metrics.hostile[websocket.broken] += 1

    async def _say_last_word(self) -> None:
        grace = self._services.config.close_grace
        patience = trio.CancelScope(shield=True, deadline=trio.current_time() + grace)
        with patience, suppress(*CONNECTION_LOST, PeerFault):
            self._transport.websocket.close(*self._closing)
            await self._transport.flush()
            await self._transport.linger()
        self._metrics.hostile[Hostility.SLOW_CLOSE] += patience.cancelled_caught

    def cut(self, code: CloseCode) -> None:
        """End the connection with a code; the first one counts. Nothing is read any more, and only the end written."""
        self._end(code, code.label)

    def ping(self) -> None:
        """Send a ping, unless the peer does not even read what was sent before."""
        if self._ended or self._transport.unsent:
            return
        try:
            if not self._transport.ping():
                self._watch()
        except Exception as fault:  # noqa: BLE001 - `_fault` sorts them
            self._fault(fault)

    def send_now(self, kind: type[Struct], encoded: bytes) -> bool:
        """Seal a frame before which nothing waits, and send it; False when it has to wait. Raises nothing."""
        transport = self._transport
        if self._flush_scheduler.gathering or transport.unsent or self._ended:
            return False
        try:
            whole = transport.send(self._session.send_one(kind, encoded))
        except Exception as fault:  # noqa: BLE001 - `_fault` sorts them
            self._fault(fault)
            return True
        metrics = self._metrics
        metrics.flushes += 1
        metrics.frames_out[kind] += 1
        metrics.bytes_out[kind] += len(encoded)
        if not whole:
            metrics.partial_writes += 1
            self._watch()
        return True

    def flush(self) -> None:
        """Seal and send what waits in the outbox, until the kernel takes no more. Raises nothing."""
        if self._ended:
            return
        try:
            self._flush()
        except Exception as fault:  # noqa: BLE001 - the same
            self._fault(fault)

    def on_readable(self) -> None:
        """Read once, and do what came. Raises nothing."""
        if self._ended:
            return
        try:
            self._read()
        except Exception as fault:  # noqa: BLE001 - the same
            self._fault(fault)

    def on_stopped(self) -> None:
        """Nothing: the node's end cancels every connection."""

    def on_writable(self) -> None:
        """Send on. Raises nothing."""
        if self._ended:
            return
        try:
            self._transport.push()
            self._flush()
            self._watch()
        except Exception as fault:  # noqa: BLE001 - the same
            self._fault(fault)

    def _fault(self, fault: Exception) -> None:
        """End because of a fault that came up in somebody else's task: nothing of it may reach them."""
        match fault:
            case PeerFault():
                hostility = hostility_of_fault(fault)
                if hostility is not None:
                    self._metrics.hostile[hostility] += 1
                self.cut(fault.close_code)
            case OSError():
                self._lose()
            case _:
                self._surprise = fault  # `end` raises it again, in the task that it belongs to
                self._end(*SURPRISED)

    def _read(self) -> None:
        if not self._transport.read_nowait():
            return
        websocket = self._transport.websocket
        self._peer.heard_at = self._reactor.now
        if websocket.slow_frames:
            self._allowance.judge(websocket.slow_frames, 0, self._reactor.now)
            websocket.slow_frames = 0
        self._take(self._open(websocket.take_messages()))
        if not websocket.open:
            self._end(*SURPRISED)  # what the WebSocket answers is the last word (RFC 6455 section 5.5.1): not this code
        self._transport.answer()
        if self._waiting is not None or self._transport.unsent:
            self._watch()

    def _open(self, messages: Sequence[bytes]) -> Iterator[tuple[ClientFrame, Refused | None]]:
        """Yield the frames of messages, each with why it may not be done."""
        for message in messages:
            frames = self._session.receive(message)
            if not self._proven:
                self._enter()
            self._count(frames, message)
            now = self._reactor.now
            refused = self._allowance.judge(len(frames), len(message), now)
            for frame in frames:
                yield frame, refused or self._allowance.judge_frame(frame, now)

    def _count(self, frames: Sequence[ClientFrame], message: bytes) -> None:
        metrics = self._metrics
        for frame in frames:
            metrics.frames_in[type(frame)] += 1
        metrics.bytes_in[SeveralFrames if len(frames) > 1 else type(frames[0])] += len(message)

    def _take(self, frames: Iterator[tuple[ClientFrame, Refused | None]]) -> None:
        """Do what frames ask for, as far as nothing has to wait."""
        for frame, refusal in frames:
            if self._ended:
                return  # cut by what came before it
            outcome = refusal or dispatch(self._services, self._peer, frame)
            if isinstance(outcome, Refused):
                self._refuse(frame, outcome)
            elif outcome is not None:
                self._waiting = _Waiting(frame, outcome, frames)
                self._wake()
                return

    async def _work(self) -> None:
        """Wait for a frame that has to wait; see it through, and then what came with it."""
        await self._park()
        while self._waiting is not None and not self._ended:
            frame, deferred, rest = self._waiting
            refused = await run_deferred(self._services, deferred)
            if refused is not None:
                self._refuse(frame, refused)
            self._waiting = None
            try:
                self._take(rest)
            except PeerFault as fault:
                self._fault(fault)
        self._watch()

    def _refuse(self, frame: ClientFrame, refused: Refused) -> None:
        self._metrics.refusals[refused.code] += 1
        self._peer.tell(refused_frame(frame, refused))

    def _overflow(self) -> None:
        """The outbox is full, and nothing in it can be left out."""
        self._metrics.hostile[Hostility.SLOW_READER] += 1
        self.cut(CloseCode.SLOW_CONSUMER)

    async def _wait_proof(self) -> None:
        with trio.move_on_after(self._services.config.handshake_deadline) as self._proof:
            while not (self._proven or self._ended):
                await self._work()
        if self._proof.cancelled_caught:
            self._metrics.hostile[Hostility.REPLAY] += 1
            self.cut(CloseCode.HANDSHAKE_TIMEOUT)
        self._proof = None

    def _enter(self) -> None:
        self._proven = True
        if self._proof is not None:
            self._proof.deadline = float("inf")
            self._wake()
        self._services.hub.enter(self._peer)
        # A revocation, or the node's end, may have come since the ticket's check, when nobody could have cut this peer.
        self._services.revocations.judge(self._peer)
        if self._services.draining.is_set():
            self.cut(CloseCode.DRAINING)

    def _leave(self) -> None:
        self._transport.take_back()
        self._services.hub.leave(self._peer)
        go_offline(self._services, self._peer)
        self._end(*(DRAINED if self._services.draining.is_set() else SURPRISED))

    def _flush(self) -> None:
        # With `send_now`, the one place where frames become ciphertext: its order is the order of the nonces.
        transport, metrics = self._transport, self._metrics
        if transport.unsent:
            return  # it goes on when the kernel takes more, which is watched for
        while batch := self._outbox.take():
            whole = transport.send(self._session.send_encoded(batch))
            metrics.flushes += 1
            for kind, encoded in batch:
                metrics.frames_out[kind] += 1
                metrics.bytes_out[kind] += len(encoded)
            if not whole:
                metrics.partial_writes += 1
                self._watch()
                return

    def _watch(self) -> None:
        """Be told what there is to be told of: reading pauses while a frame waits, writing while nothing does."""
        self._transport.watch(reading=self._waiting is None)

    async def _park(self) -> None:
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)  # without a deadline: this is the connection's life

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def _start(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # Who ends may still be in the hands of somebody who found it in the hub.
        if self._nursery is not None and not self._ended:
            self._nursery.start_soon(task)

    def _lose(self) -> None:
        """The peer went without a word: there is nobody to say the last one to."""
        self._lost = True
        self._end(*SURPRISED)

    def _end(self, code: int, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self._closing = code, reason
            self._outbox.end()
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()
