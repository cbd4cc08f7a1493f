"""One Valkey server of the bus: a connection that hears its topics, and one that publishes."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import RedisError, ResponseError

from settings.bus import ValkeyServers
from settings.environment import Address
from storage.bus.inbox import Inbox
from storage.bus.wire import FLEET, BusDown, Timeouts, retry_pauses

PREFIX: Final = "varde:"
"""Of every channel, for whoever looks at the server or writes its access list."""
CHANNELS: Final = 128
"""In one command: some kilobytes. Other clients of the server get their turn between two commands."""
# A TimeoutError is an OSError. uvloop says RuntimeError of a transport that was closed under a write.
LOST: Final = (OSError, RedisError, RuntimeError)
Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verbs:
    """The commands of one kind of pub/sub; `together` is how many channels fit one of them."""

    subscribe: str
    unsubscribe: str
    publish: str
    together: int


PLAIN: Final = Verbs("SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", CHANNELS)
# In a cluster a plain PUBLISH goes to every node of it. Sharded, it stays on the one that owns the channel's slot, and
# a command may only name channels of one slot.
SHARDED: Final = Verbs("SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH", 1)


def make_connection(servers: ValkeyServers, address: Address, timeouts: Timeouts) -> Connection:
    """Make a connection, not yet open. It never tries again by itself: whoever holds it has to know of each loss."""
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "username": servers.user,
        "password": servers.password,
        "client_name": "varde-bus",
        "driver_info": None,  # two round trips less
        "protocol": 2,  # RESP3 passes what is heard to a callback, behind which a lost order could hide
        "decode_responses": True,
        # Deadlines are set here, by asyncio.timeout: the library's own on writing is asyncio.wait_for, which in Python
        # 3.11 may swallow a cancellation, after which a bus could not be closed.
        "socket_timeout": None,
        "socket_connect_timeout": timeouts.answer,
    }
    if servers.tls is None:
        return Connection(**options)
    files = servers.tls
    return SSLConnection(
        **options,
        ssl_ca_certs=None if files.ca is None else str(files.ca),
        ssl_certfile=None if files.certificate is None else str(files.certificate),
        ssl_keyfile=None if files.key is None else str(files.key),
    )


async def open_connection(connection: Connection, timeouts: Timeouts) -> None:
    """Connect and authenticate, unless that was done before. Raises one of LOST."""
    async with asyncio.timeout(timeouts.answer):
        await connection.connect()  # type: ignore[no-untyped-call]  # the library has no types here


async def send(connection: Connection, commands: Sequence[Command]) -> None:
    """Send commands. Raises one of LOST."""
    # Without this, the library connects anew by itself when somebody else has found the connection lost: to a server
    # that has none of our subscriptions, while everybody believes that all is heard.
    if not connection.is_connected:
        raise ConnectionError("the connection was lost before")
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)


class ValkeyLink:
    """Hears and publishes what belongs to one server. A lost connection is opened again, and the loss is said.

    `up` means that every topic that was wanted when the connection began is heard: what is published from then on
    arrives. A server that cuts us because we read too slowly (`client-output-buffer-limit`) is a lost connection.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        verbs: Verbs,
        topics: Collection[str],
        timeouts: Timeouts,
        inbox: Inbox,
        note: Callable[["ValkeyLink"], None],
        *,
        missed: bool,
    ) -> None:
        """`note` is called whenever `up` has changed, and after each attempt that failed.

        `missed` is whether something may have been missed when it is up for the first time.
        """
        self.up = False
        self.topics = set(topics)
        self.failure: BaseException | None = None
        """Of the last attempt, if it failed."""
        self.misled = False
        """Whether the server refused a publication: it may not own the slot any more."""
        self.tried = asyncio.Event()
        """Set once the first attempt has ended."""
        self._connect = connect
        self._verbs = verbs
        self._timeouts = timeouts
        self._inbox = inbox
        self._note = note
        self._missed = missed
        self._leaving: Counter[str] = Counter()
        """Topics that we asked to hear no more, until the server has answered."""
        self._changes: asyncio.Queue[Command] = asyncio.Queue()
        self._publisher: Connection | None = None
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Hear, for as long as the bus is open."""
        pauses = retry_pauses(self._timeouts)
        try:
            while True:
                try:
                    await self._hear()
                except LOST as error:
                    self.failure = error
                if self.up:
                    # Only after it was up does the pause begin small again: a server that refuses us is asked less and
                    # less often.
                    self.up = False
                    pauses = retry_pauses(self._timeouts)
                self.tried.set()
                self._note(self)
                await self._hang_up()  # the same server: what it was told may have been lost with the rest
                await asyncio.sleep(next(pauses))
        finally:
            await self._hang_up()

    def subscribe(self, topics: Collection[str]) -> None:
        """Hear these, too; the inbox is told once they are heard."""
        new = [topic for topic in topics if topic not in self.topics]
        self.topics.update(new)
        self._queue(self._verbs.subscribe, new)

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Hear these no more."""
        old = [topic for topic in topics if topic in self.topics]
        self.topics.difference_update(old)
        self._leaving.update(old)
        self._queue(self._verbs.unsubscribe, old)

    async def publish(self, texts: Sequence[tuple[str, str]]) -> None:
        """Publish texts under topics in one write, and wait until the server has them all. Raises BusDown."""
        if not self.up:
            raise BusDown("the Valkey server is away")
        async with self._turn:
            try:
                publisher = self._publisher = self._publisher or self._connect()
                await open_connection(publisher, self._timeouts)
                commands = [(self._verbs.publish, PREFIX + topic, text) for topic, text in texts]
                await send(publisher, commands)
                for _ in commands:
                    await publisher.read_response()
            except LOST as error:
                await self._hang_up()
                if isinstance(error, ResponseError):
                    self.misled = True
                    self._note(self)
                raise BusDown(f"the Valkey server did not take it: {type(error).__name__}") from None
            except BaseException:  # cancelled: the answers that were not read would be taken for those of the next call
                await self._hang_up()
                raise

    def _queue(self, verb: str, topics: Sequence[str]) -> None:
        for command in _commands(verb, topics, self._verbs.together):
            self._changes.put_nowait(command)

    async def _hang_up(self) -> None:
        if self._publisher is not None:
            publisher, self._publisher = self._publisher, None
            await publisher.disconnect(nowait=True)

    async def _hear(self) -> None:
        connection = self._connect()
        try:
            await open_connection(connection, self._timeouts)
            self._changes, self._leaving = asyncio.Queue(), Counter()
            waiting = sorted(self.topics)
            self._queue(self._verbs.subscribe, waiting)
            # Ends when either of the two has lost the connection.
            await run_until_first_end(self._write(connection), self._read(connection, set(waiting)))
        finally:
            await connection.disconnect(nowait=True)

    async def _write(self, connection: Connection) -> None:
        while True:
            commands = [await self._changes.get()]
            while not self._changes.empty():
                commands.append(self._changes.get_nowait())
            await send(connection, commands)

    async def _read(self, connection: Connection, waiting: set[str]) -> None:
        asked = False
        if not waiting:
            self._say_up()
        while True:
            # Another connection that breaks tells by itself; a server that stands still does not.
            timeout = self._timeouts.answer if asked else self._timeouts.probe
            reply = await connection.read_response(timeout=timeout)
            if reply is None and asked:
                raise TimeoutError("the Valkey server is silent")
            asked = reply is None
            if asked:
                await send(connection, [("PING",)])
            elif isinstance(reply, list):
                self._take(reply, waiting)

    def _take(self, reply: list[Any], waiting: set[str]) -> None:
        kind, channel, *rest = reply
        if kind in {"message", "smessage"}:
            self._inbox.put(rest[0])
            return
        topic = str(channel or "").removeprefix(PREFIX)
        if kind in {"subscribe", "ssubscribe"}:
            if self.up:
                self._lose({topic})
            else:
                waiting.discard(topic)
                if not waiting:
                    self._say_up()
        elif kind == "sunsubscribe":
            # A slot that moves to another server takes its subscribers with it by this word, which nobody asked for.
            if not self._leaving[topic]:
                raise ConnectionResetError("the Valkey server does not own this channel any more")
            self._leaving[topic] -= 1

    def _say_up(self) -> None:
        self.up, self.failure = True, None
        self.tried.set()
        self._note(self)
        if self._missed:
            self._lose(self.topics)
        self._missed = True

    def _lose(self, topics: Collection[str]) -> None:
        self._inbox.lose(None if FLEET in topics else frozenset(topics))


async def run_until_first_end(*works: Coroutine[None, None, None]) -> None:
    """Run all of them until one ends, end the others, and raise what it raised.

    Not an asyncio.TaskGroup: in Python 3.11 that takes its parent for cancelled when a task fails after the body has
    ended, and swallows a cancellation that comes in the same moment. Whoever handles the failure and goes on could then
    either not go on, or never be ended.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _commands(verb: str, topics: Sequence[str], together: int) -> Iterator[Command]:
    for start in range(0, len(topics), together):
        yield (verb, *(PREFIX + topic for topic in topics[start : start + together]))
