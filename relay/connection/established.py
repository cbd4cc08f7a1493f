"""An established connection: it handles the frames that come, and encrypts and sends what waits in its outbox.

Reading and writing happen in plain functions, called by the reactor and by whoever publishes. The connection's own task
is parked. It owns what ends with the connection, it can be cancelled, and it waits for stores on behalf of frames that
ask for something that is not in memory.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

import trio
from msgspec import Struct

from relay.connection.handshake import AuthenticatedSession
from relay.connection.outbox import Outbox
from relay.connection.peer import Peer
from relay.delivery.mailbox import Mailbox
from relay.frames.dispatch import dispatch, run_deferred
from relay.frames.presence import go_offline
from relay.frames.refusals import Deferred, refused_frame
from relay.metrics.counters import SeveralFrames
from relay.metrics.labels import CLIENT_CLOSE_CODES, UNKNOWN_CODE, Hostility, hostility_of_fault
from relay.services import Services
from relay.socket.transport import CONNECTION_LOST, Transport
from varde_contract.close_codes import CloseCode
from varde_contract.errors import PeerFault
from varde_contract.frames import ReceivedFrame
from varde_contract.refusals import Refused

SURPRISED: Final = (1011, "")
"""RFC 6455 section 7.4.1: an internal error, without a reason. For an end that nobody chose."""
DRAINED: Final = (CloseCode.DRAINING.value, CloseCode.DRAINING.label)


class _Deferred(NamedTuple):
    """A frame that has to wait for a store, and the frames behind it."""

    frame: ReceivedFrame
    deferred: Deferred
    rest: Iterator[tuple[ReceivedFrame, Refused | None]]


class EstablishedConnection:
    """An authenticated connection. It alone owns its cancel scope; others call `cut`."""

    __slots__ = (
        "_closing",
        "_deferred",
        "_ended",
        "_flush_scheduler",
        "_lost",
        "_metrics",
        "_nursery",
        "_outbox",
        "_peer",
        "_proof",
        "_proven",
        "_rate_limiter",
        "_reactor",
        "_services",
        "_session",
        "_surprise",
        "_task",
        "_transport",
    )

    def __init__(self, services: Services, transport: Transport, authenticated: AuthenticatedSession) -> None:
        self._services = services
        self._flush_scheduler = services.flush_scheduler
        self._metrics = services.metrics
        self._reactor = services.reactor
        self._transport = transport
        self._session = authenticated.session
        self._rate_limiter = services.admission.rate_limiter(authenticated.ticket.account, services.reactor.now)
        self._outbox = Outbox(
            services.settings.outbox_bytes,
            overflow=self._overflow,
            direct=self.send_now,
            request_flush=partial(services.flush_scheduler.request, self),
            drops=services.metrics.dropped,
        )
        self._peer = Peer(
            authenticated.ticket,
            self._outbox,
            self,
            partial(
                Mailbox, hub=services.hub, log_reader=services.log_reader, served=services.admission.newcomers.leave
            ),
            now=trio.current_time(),
            number=authenticated.number,
        )
        self._nursery: trio.Nursery | None = None
        self._task: trio.lowlevel.Task | None = None
        self._deferred: _Deferred | None = None
        self._proven = False
        self._proof: trio.CancelScope | None = None
        self._closing = SURPRISED
        self._ended = False
        self._lost = False
        self._surprise: Exception | None = None
        services.admission.newcomers.enter(self._peer)
        self._outbox.push_frame(authenticated.welcome)

    async def run(self, nursery: trio.Nursery) -> None:
        """Serve until `cut`, the peer or a surprise ends it. Then `nursery` is cancelled, here or by the caller."""
        self._nursery = nursery
        self._transport.hand_over(self)
        self._watch()  # the kernel may not have taken all of Welcome
        try:
            # A peer that finished XX is alive: its last message answered our ephemeral key. The first message of IK may
            # be a replay. Then the peer must not be visible, nor replace an older connection, before it has sent a
            # message that only the owner of the key can encrypt.
            if self._session.pattern is not None and not self._session.pattern.one_round_trip:
                self._enter_hub()
            else:
                await self._wait_proof()
            while not self._ended:
                await self._work()
        finally:
            # Before the nursery closes: whoever finds this peer in the hub may start a task in it.
            self._leave_hub()
            self._services.admission.newcomers.leave(self._peer)

    async def end(self) -> None:
        """Send the close frame, and wait for its answer within the close grace. Raises what was a surprise."""
        self._count_end()
        if not self._lost:
            await self._close()
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
        self._metrics.disconnects[code] += 1
        if websocket.broken is not None:
            self._metrics.hostile[websocket.broken] += 1

    async def _close(self) -> None:
        # Shielded: when the whole node is cancelled, clients still hear which code it is.
        grace = self._services.settings.close_grace
        patience = trio.CancelScope(shield=True, deadline=trio.current_time() + grace)
        # It has gone, or does not read its close frame: then there is nobody to wait for.
        with patience, suppress(*CONNECTION_LOST, PeerFault):
            self._transport.close_protocol(*self._closing)
            await self._transport.flush()
            await self._transport.linger()
        self._metrics.hostile[Hostility.SLOW_CLOSE] += patience.cancelled_caught

    def cut(self, code: CloseCode) -> None:
        """End the connection with a code; the first one counts. Nothing more is read, and only the close is written."""
        self._end(code, code.label)

    def ping(self) -> None:
        """Send a ping, unless the peer has not even read what was sent before."""
        if self._ended or self._transport.unsent:
            return
        try:
            if not self._transport.ping():
                self._watch()
        except Exception as fault:  # noqa: BLE001 - `_end_for` sorts them
            self._end_for(fault)

    def send_now(self, kind: type[Struct], encoded: bytes) -> bool:
        """Seal a frame before which nothing waits, and send it; False when it has to wait. Raises nothing."""
        transport = self._transport
        if self._flush_scheduler.gathering or transport.unsent or self._ended:
            return False
        try:
            whole = transport.send(self._session.send_one(kind, encoded))
        except Exception as fault:  # noqa: BLE001 - `_end_for` sorts them
            self._end_for(fault)
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
        except Exception as fault:  # noqa: BLE001 - as above
            self._end_for(fault)

    def on_readable(self) -> None:
        """Read once, and do what came. Raises nothing."""
        if self._ended:
            return
        try:
            self._read()
        except Exception as fault:  # noqa: BLE001 - as above
            self._end_for(fault)

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
        except Exception as fault:  # noqa: BLE001 - as above
            self._end_for(fault)

    def _end_for(self, fault: Exception) -> None:
        """End because of a fault. It was raised in the task of the reactor or of a publisher, which must not see it."""
        match fault:
            case PeerFault():
                hostility = hostility_of_fault(fault)
                if hostility is not None:
                    self._metrics.hostile[hostility] += 1
                self._end(fault.close_code, fault.close_reason)
            case OSError():
                self._lose()
            case _:
                self._surprise = fault  # `end` raises it again, in the connection's own task
                self._end(*SURPRISED)

    def _read(self) -> None:
        if not self._transport.read_nowait():
            return
        websocket = self._transport.websocket
        self._peer.heard_at = self._reactor.now  # read once for all sockets of the pass
        if websocket.slow_frames:
            self._rate_limiter.check_message(websocket.slow_frames, 0, self._reactor.now)
            websocket.slow_frames = 0
        self._handle(self._decrypt(websocket.take_messages()))
        if not websocket.open:
            # The code is not sent: the WebSocket has written a close frame of its own (RFC 6455 section 5.5.1).
            self._end(*SURPRISED)
        self._transport.answer()
        if self._deferred is not None or self._transport.unsent:
            self._watch()

    def _decrypt(self, messages: Sequence[bytes]) -> Iterator[tuple[ReceivedFrame, Refused | None]]:
        """Yield the frames of messages, each with the refusal if it exceeds the limits."""
        # A generator: what stands behind a deferred frame is opened and counted against the limits when its turn comes.
        for message in messages:
            frames = self._session.receive(message)
            if not self._proven:
                self._enter_hub()
            self._count(frames, message)
            now = self._reactor.now
            refused = self._rate_limiter.check_message(len(frames), len(message), now)
            for frame in frames:
                yield frame, refused or self._rate_limiter.check_frame(frame, now)

    def _count(self, frames: Sequence[ReceivedFrame], message: bytes) -> None:
        metrics = self._metrics
        for frame in frames:
            metrics.frames_in[type(frame)] += 1
        metrics.bytes_in[SeveralFrames if len(frames) > 1 else type(frames[0])] += len(message)

    def _handle(self, frames: Iterator[tuple[ReceivedFrame, Refused | None]]) -> None:
        """Handle frames up to the first one that has to wait for a store."""
        for frame, refusal in frames:
            if self._ended:
                return  # the frame before it ended the connection
            outcome = refusal or dispatch(self._services, self._peer, frame)
            if isinstance(outcome, Refused):
                self._refuse(frame, outcome)
            elif outcome is not None:
                self._deferred = _Deferred(frame, outcome, frames)
                self._wake()
                return

    async def _work(self) -> None:
        """Wait until a frame is deferred; finish it, then handle the frames behind it."""
        await self._park()
        while self._deferred is not None and not self._ended:
            frame, deferred, rest = self._deferred
            refused = await run_deferred(self._services, deferred)
            if refused is not None:
                self._refuse(frame, refused)
            self._deferred = None
            try:
                # This may defer again. `_wake` does nothing then, as the task is not parked, and the loop takes the
                # frame up. Any other exception is raised here, in the connection's own task, where it belongs.
                self._handle(rest)
            except PeerFault as fault:
                self._end_for(fault)
        self._watch()

    def _refuse(self, frame: ReceivedFrame, refused: Refused) -> None:
        self._metrics.refusals[refused.code] += 1
        self._peer.send(refused_frame(frame, refused))

    def _overflow(self) -> None:
        """Cut a peer whose outbox is full of frames that must not be dropped."""
        self._metrics.hostile[Hostility.SLOW_READER] += 1
        self.cut(CloseCode.SLOW_CONSUMER)

    async def _wait_proof(self) -> None:
        with trio.move_on_after(self._services.settings.handshake_deadline) as self._proof:
            while not (self._proven or self._ended):
                await self._work()
        if self._proof.cancelled_caught:
            self._metrics.hostile[Hostility.REPLAY] += 1
            self.cut(CloseCode.HANDSHAKE_TIMEOUT)
        self._proof = None

    def _enter_hub(self) -> None:
        self._proven = True
        if self._proof is not None:
            # Not cancelled: within the scope the task may be waiting for a store on behalf of the frame that is the
            # proof.
            self._proof.deadline = float("inf")
            self._wake()
        self._services.device_connections.enter(self._peer)
        # A revocation or a drain may have come after the ticket was checked, while this peer was not in the hub.
        self._services.revocations.judge(self._peer)
        if self._services.draining.is_set():
            self.cut(CloseCode.DRAINING)

    def _leave_hub(self) -> None:
        # First: from here on the reactor wakes this task and no longer reads for the connection.
        self._transport.take_back()
        self._services.hub.remove(self._peer)
        go_offline(self._services, self._peer)
        # For a cancellation from outside. Whoever ended the connection before has chosen the code, and the first
        # counts.
        self._end(*(DRAINED if self._services.draining.is_set() else SURPRISED))

    def _flush(self) -> None:
        # Only here and in `send_now` are frames encrypted: the order of the wire is the order of the nonces.
        transport, metrics = self._transport, self._metrics
        if transport.unsent:
            return  # `on_writable` goes on
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
        """Tell the reactor what to watch: reading pauses while a frame is deferred, so that frames stay in order."""
        self._transport.watch(reading=self._deferred is None)

    async def _park(self) -> None:
        # The reactor does not run between the `_watch` that lets it read again and here: there is no checkpoint. A
        # frame that was deferred in between would wake nobody, and never be looked at.
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)  # without a deadline: this is the connection's life

    def _abort(self, _: Any) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def start_soon(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task that ends with the connection. Does nothing after its end."""
        # Whoever found the peer in the hub may call this while the connection ends.
        if self._nursery is not None and not self._ended:
            self._nursery.start_soon(task)

    def _lose(self) -> None:
        """End without a close frame: the peer is gone."""
        self._lost = True
        self._end(*SURPRISED)

    def _end(self, code: int, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self._closing = code, reason
            # Frees the memory of a peer that read nothing, and keeps frames from following the close frame.
            self._outbox.end()
            if self._nursery is not None:
                self._nursery.cancel_scope.cancel()
