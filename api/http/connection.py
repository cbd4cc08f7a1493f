"""One HTTP/1.1 connection: Hypercorn's protocol under deadlines of our own, which end whatever the client does.

Hypercorn's own connection lets two kinds of client do harm: an upgrade request with a body raises through the whole
server, and a client that does not read holds up the shutdown for ever.
"""

import logging
import math
import re
import ssl
from typing import Any, Final, cast

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Response
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from api.http.problems import body_of, headers_of, refusal_of_status
from observability.surprises import note_surprise
from settings.api import Timeouts
from varde_contract.refusals import RefusalCode

CHUNK: Final = 64 * 1024
LINGER_BYTES: Final = 4 * 1024 * 1024
"""As much as a body may have: a client that is refused at its head may be sending one."""
_TARGETS: Final = (b"/", b"http://", b"https://")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_UNFINISHED: Final = (h11.SEND_BODY, h11.ERROR)

_log = logging.getLogger(__name__)


class StrictHttp(h11.Connection):
    """h11 that takes no line ending but CRLF in a head.

    h11 takes a bare LF as well (RFC 9112 section 2.2 allows it). A proxy in front may not, and the two would then see
    different requests in the same bytes.
    """

    def next_event(self) -> Any:
        """Return the next event. Raises h11.RemoteProtocolError for a bare LF."""
        if self.their_state is h11.IDLE:
            head, _, _ = self.trailing_data[0].partition(b"\r\n\r\n")
            if _BARE_LF.search(head):
                raise h11.RemoteProtocolError("a line ends in a bare LF")
        return super().next_event()


class Protocol(H11Protocol):
    """Hypercorn's HTTP/1.1 without upgrades, which a server may ignore (RFC 9110 section 7.8)."""

    def __init__(self, *hypercorns: Any, **named: Any) -> None:
        super().__init__(*hypercorns, **named)
        self.connection = StrictHttp(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Allow neither h2c nor HTTP/2 by prior knowledge."""

    async def _create_stream(self, request: h11.Request) -> None:
        # With both lengths, a proxy that believes the other one sees another request behind this one (RFC 9112 section
        # 6.1 tells a server to close, or to refuse).
        two_lengths = {b"content-length", b"transfer-encoding"} <= {name for name, _ in request.headers}
        if two_lengths or not (request.target.startswith(_TARGETS) and request.target.isascii()):
            await self._send_error_response(400)
            await self.send(Closed())
            return
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        plain = h11.Request(
            method=request.method, target=request.target, headers=headers, http_version=request.http_version
        )
        await super()._create_stream(plain)

    async def stream_send(self, event: StreamEvent) -> None:
        """Announce a connection that will close, so that the client does not send its next request on it."""
        if isinstance(event, Response) and (self.context.terminated.is_set() or self._is_unfinished()):
            event = Response(event.stream_id, [*event.headers, (b"connection", b"close")], event.status_code)
        await super().stream_send(event)

    async def _send_error_response(self, status_code: int) -> None:
        # Hypercorn would send an empty body. Whoever sends bad HTTP gets a problem document like everybody else.
        refused = refusal_of_status(status_code)
        if refused.code is RefusalCode.MALFORMED:
            status_code = 400  # h11 says 501 to a transfer coding that it does not know, as if it were our fault
        body = body_of(refused, status_code)
        headers = {**headers_of(refused), "Content-Length": str(len(body)), "Connection": "close"}
        fields = [*headers.items(), *self.config.response_headers("h11")]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=cast("Any", fields)))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    async def refuse_slow_head(self) -> None:
        """Tell a client that began a request and did not finish its head in time."""
        if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE} and self.connection.trailing_data[0]:
            await self._send_error_response(408)

    @property
    def has_unread_bytes(self) -> bool:
        """Whether the client has sent, or may still be sending, bytes that nobody will read."""
        return self._is_unfinished() or bool(self.connection.trailing_data[0])

    def _is_unfinished(self) -> bool:
        return self.connection.their_state in _UNFINISHED


class Connection:
    """One client. `serve` returns when the connection is closed, and raises nothing."""

    def __init__(
        self,
        stream: trio.SocketStream,
        tls: ssl.SSLContext | None,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        timeouts: Timeouts,
    ) -> None:
        self._socket = stream.socket
        self._tls = tls is not None
        self._stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = (
            stream if tls is None else trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        )
        self._app = app
        self._config = config
        self._context = context
        self._timeouts = timeouts
        self._sending = trio.Lock()
        self._reading = trio.CancelScope()
        self._idle = True
        self._broken = False

    async def serve(self) -> None:
        """Serve until the client goes, takes too long, or the server stops."""
        try:
            if not await self._shake_hands():
                return
            async with TaskGroup() as tasks:
                protocol = self._open_protocol(tasks)
                await self._read(protocol)
                await self._tell_closed(protocol)
            if protocol.has_unread_bytes and not self._broken:
                await self._linger()
        except Exception as error:  # noqa: BLE001 - the fence: one client's fault must not end the server
            if not _is_disconnect(error):
                note_surprise(_log, "a connection failed", error)
        finally:
            await trio.aclose_forcefully(self._stream)

    def stop_nowait(self) -> None:
        """Close when no request is under way; otherwise the protocol closes after the answer."""
        if self._idle:
            self._reading.cancel()

    async def _shake_hands(self) -> bool:
        """Finish the TLS handshake in the time that a head has; False where it came to nothing."""
        if isinstance(self._stream, trio.SSLStream):
            with trio.move_on_after(self._timeouts.head) as scope:
                await self._stream.do_handshake()
            return not scope.cancelled_caught
        return True

    def _open_protocol(self, tasks: TaskGroup) -> Protocol:
        client, server = (name[:2] for name in (self._socket.getpeername(), self._socket.getsockname()))
        return Protocol(
            self._app,
            self._config,
            self._context,
            tasks,
            ConnectionState({}),
            ssl=self._tls,
            client=client,
            server=server,
            send=self._send,
        )

    async def _read(self, protocol: Protocol) -> None:
        self._reading.deadline = trio.current_time() + self._timeouts.head
        with self._reading:
            while data := await self._receive():
                if self._idle:
                    # The first byte of a request sets the deadline of its head, and no further byte puts it off.
                    self._wait_at_most(self._timeouts.head)
                await protocol.handle(RawData(data))
            await protocol.handle(RawData(b""))
        if self._reading.cancelled_caught and self._idle and not self._broken:
            await protocol.refuse_slow_head()

    async def _receive(self) -> bytes:
        # A reset is an end like any other: the protocol is told, and tells the requests under way.
        try:
            return bytes(await self._stream.receive_some(CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._broken = True
            return b""

    def _wait_at_most(self, seconds: float) -> None:
        self._reading.deadline = min(self._reading.deadline, trio.current_time() + seconds)

    async def _send(self, event: Event) -> None:
        """What the protocol calls, from the reading task and from those of requests."""
        match event:
            case RawData(data=data):
                await self._send_bytes(data)
            case Closed():
                self._idle = False
                self._reading.cancel()
            case Updated(idle=idle):
                # While a request is under way its own deadlines count: for its body, its work and its answer.
                self._idle = idle
                self._reading.deadline = trio.current_time() + self._timeouts.keep_alive if idle else math.inf

    async def _send_bytes(self, data: bytes) -> None:
        if self._broken:
            return
        with trio.move_on_after(self._timeouts.send) as scope:
            async with self._sending:
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._abort()
        if scope.cancelled_caught:
            self._abort()

    def _abort(self) -> None:
        self._broken = True
        self._reading.cancel()

    async def _tell_closed(self, protocol: Protocol) -> None:
        with trio.move_on_after(self._timeouts.linger):
            await protocol.handle(Closed())

    async def _linger(self) -> None:
        # A socket that is closed with bytes unread is reset by the kernel, and the client may lose the answer.
        with trio.move_on_after(self._timeouts.linger):
            if isinstance(self._stream, trio.SocketStream):  # TLS has no end of one direction
                await self._stream.send_eof()
            left = LINGER_BYTES
            while left > 0 and (data := await self._stream.receive_some(CHUNK)):
                left -= len(data)


def _is_disconnect(error: BaseException) -> bool:
    """Whether an exception says no more than that the client has gone."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_disconnect, error.exceptions))
    return isinstance(error, OSError | trio.BrokenResourceError | trio.ClosedResourceError)
