"""The HTTP server: it listens, serves each connection in a task of its own, and shuts down in order.

Hypercorn's protocol class is used, but not its worker: one client could crash that or hold up its shutdown
(docs/decisions/2026-11-22-hypercorn-connection.md).
"""

import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from api.http.connection import Connection
from api.http.problems import TOO_MANY_CONNECTIONS, body_of, headers_of
from api.metrics.counters import ApiMetrics
from settings.api import ApiSettings
from varde_contract.client_address import network_of

KIB: Final = 1_024
HEAD_BYTES: Final = 32 * KIB
REQUESTS_PER_CONNECTION: Final = 10_000
REFUSAL_SECONDS: Final = 1.0
"""How long a client that is one too many may take to read its refusal."""


async def serve_api(
    config: ApiSettings,
    app: ASGIFramework,
    metrics: ApiMetrics,
    *,
    stopping: trio.Event | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stopping` is set or the task is cancelled; started with the address, as `host:port`.

    After `stopping`, nobody new is let in, idle connections close, and requests under way get `timeouts.stop` seconds.
    With `tls`, which returns what has the newest certificate, TLS is spoken and nothing else.
    """
    server = _Server(config, app, metrics, tls)
    listeners = await trio.open_tcp_listeners(config.port, host=config.host, backlog=config.backlog)
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(_accept, server, listeners, connections)
            task_status.started(_address_of(listeners[0]))
            # No deadline: a server serves until it is told to stop.
            await (trio.Event() if stopping is None else stopping).wait()
            accepting.cancel_scope.cancel()
        await server.stop()
        connections.cancel_scope.deadline = trio.current_time() + config.timeouts.stop


async def _accept(server: "_Server", listeners: list[trio.SocketListener], connections: trio.Nursery) -> None:
    await trio.serve_listeners(server.serve_connection, listeners, handler_nursery=connections)


class _Server:
    """All connections, counted in total and by network."""

    def __init__(
        self,
        config: ApiSettings,
        app: ASGIFramework,
        metrics: ApiMetrics,
        tls: Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._tls = tls
        self._most = config.connections
        # Behind proxies all clients have the proxies' address, and the limit for each of them is set there.
        self._most_of_one = config.connections if config.proxies else config.connections_per_address
        self._timeouts = config.timeouts
        self._app = ASGIWrapper(app)
        self._metrics = metrics
        self._hypercorn = _hypercorn_config()
        self._context = WorkerContext(None)
        self._connections: dict[Connection, None] = {}
        self._networks: Counter[str] = Counter()

    async def serve_connection(self, stream: trio.SocketStream) -> None:
        """Serve one client, or turn it away."""
        network = _network_of(stream)
        if self._is_full(network) or self._context.terminated.is_set():
            self._metrics.refused_connections += 1
            # A handshake is what one too many must not cost.
            if self._tls is None:
                await _refuse_connection(stream)
            await trio.aclose_forcefully(stream)
            return
        context = None if self._tls is None else self._tls()
        connection = Connection(stream, context, self._app, self._hypercorn, self._context, self._timeouts)
        with self._counted(connection, network):
            await connection.serve()

    def _is_full(self, network: str) -> bool:
        return len(self._connections) >= self._most or self._networks[network] >= self._most_of_one

    @contextmanager
    def _counted(self, connection: Connection, network: str) -> Iterator[None]:
        self._connections[connection] = None
        self._metrics.connections += 1
        self._networks[network] += 1
        try:
            yield
        finally:
            del self._connections[connection]
            self._metrics.connections -= 1
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]

    async def stop(self) -> None:
        """Close the idle connections now, and the others after their answers."""
        await self._context.terminated.set()
        for connection in self._connections:
            connection.stop_nowait()


def _network_of(stream: trio.SocketStream) -> str:
    try:
        return network_of(stream.socket.getpeername()[0])
    except OSError:
        return network_of("")  # gone already; the first read will say so


async def _refuse_connection(stream: trio.SocketStream) -> None:
    body = body_of(TOO_MANY_CONNECTIONS)
    headers = {**headers_of(TOO_MANY_CONNECTIONS), "Content-Length": str(len(body)), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with trio.move_on_after(REFUSAL_SECONDS):
        try:
            await stream.send_all(f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n".encode() + body)
            await stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it has gone already


def _hypercorn_config() -> Config:
    config = Config()
    config.include_server_header = False
    config.h11_max_incomplete_size = HEAD_BYTES
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION
    # Hypercorn would log requests and tracebacks, and with them secrets. `locate` logs the place in the code only.
    config.accesslog = None
    config.errorlog = None
    return config


def _address_of(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
