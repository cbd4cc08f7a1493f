"""The tree of tasks of a connected client, and the one way to open it.

connect
└─ store                          locked by this process, closed last
   └─ nursery
      ├─ reconnector              connects, reconnects, hands frames to the receiver
      ├─ rosters                  fetches rosters that the relay says have changed
      ├─ transparency             keeps the log's newest checkpoint, compares it with what others saw
      ├─ list lookups             asks the log once a day whether a contact has a newer device list
      ├─ expiry                   deletes messages whose time is over
      ├─ search                   keeps the snapshot of its index without what was deleted
      ├─ prekeys                  uploads prekeys at the start, when few are left, and once a day
      ├─ sender lookups, retries  one short task each
      └─ conversation sender x N  one for each conversation in which something is sent
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import httpx
import trio

from varde.backoff import Backoff
from varde.chains import Chains
from varde.changes import root_key_changes
from varde.client import Client
from varde.connection import Connection
from varde.conversation_sender import ConversationSender
from varde.crypto.keychain import Keychain, OwnDevice
from varde.device import PHRASE, PHRASE_KEPT, load_api_url, load_device
from varde.errors import Busy, Ended, ListRollback, Refusal, RootKeyChanged, Unreachable, UntrustedDevice, VardeError
from varde.event_stream import EventStream
from varde.events import Connected, Disconnected, OwnListChanged, Reason
from varde.expiry import Expiry
from varde.first_words import FirstContact
from varde.http import Http
from varde.identity import Identity
from varde.joins import Joins
from varde.links import Links
from varde.list_lookups import ListLookups
from varde.lost_records import LostRecords
from varde.memberships import Memberships
from varde.named_lists import NamedLists
from varde.outbox import Outbox
from varde.own_list import OwnList
from varde.prekeys import PrekeyUploads
from varde.receiver import Receiver
from varde.reconnector import ConnectionListener, Reconnector
from varde.rest import AccessTokens, Rest
from varde.rosters import Rosters
from varde.search import Search
from varde.services import Services
from varde.store import Store, Unlock, open_store
from varde.transparency import Transparency
from varde_contract.exception_groups import ungrouped
from varde_contract.frames import ServerFrame
from varde_contract.ids import AccountId, ConversationId, DeviceId, EpochId, ProfileId
from varde_contract.links import normal_origin

EPOCH = "epoch"
"""The setting with the epoch of the server's store in which everything was last put back."""
CLOSE_SECONDS = 2.0
"""How long the end of the block waits for queued frames to leave, receipts above all."""

LISTS_PAUSE_SECONDS = 2.0
"""Before device lists are fetched for a message: by then a roster that just changed is here by itself, and a member who
names made-up lists in every message costs each reader no more than this."""


@asynccontextmanager
async def connect(
    home: Path | str, unlock: Unlock, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[Client]:
    """Open the device of a home folder for the block. It connects, and reconnects, in the background.

    Raises NotEnrolled, StoreInUse, WrongKey, StoreDamaged.
    """
    async with open_store(Path(home), unlock) as store:
        keys, identity = load_device(store)
        if not store.settings.find(PHRASE_KEPT, bool):
            with store.transaction():
                store.settings.remove(PHRASE)  # it was shown; from here on it exists on paper only
        async with Http(load_api_url(store), transport=transport) as http:
            services = make_services(store, http, identity)
            # The caller's exception must come out as itself, not in a group of a nursery it never opened.
            with ungrouped():
                async with trio.open_nursery() as nursery:
                    tasks = ClientTasks(
                        services, nursery, lambda listener: Reconnector(store, services.rest, keys, listener)
                    )
                    try:
                        yield Client(services)
                        services.events.mark_all_taken()
                    finally:
                        await tasks.aclose()


def make_services(store: Store, http: Http, identity: Identity) -> Services:
    """Build the parts of a client over an open store."""
    keychain, events = Keychain(store, OwnDevice(identity.account, identity.device)), EventStream(store)
    rest = Rest(http, AccessTokens(store, http))
    log, origin = Transparency(store, rest, events.publish), normal_origin(load_api_url(store))
    return put_together(identity, store, keychain, rest, events, log, origin)


def put_together(
    identity: Identity,
    store: Store,
    keychain: Keychain,
    rest: Rest,
    events: EventStream,
    transparency: Transparency,
    origin: str,
) -> Services:
    """Build the rest of a client around its keys and its API."""
    chains = Chains(store, keychain.trust, identity)
    outbox = Outbox(store, identity, events)
    lost = LostRecords(store, rest, identity.account, outbox.settle_own_numbers)
    own_list = OwnList(store, rest, OwnDevice(identity.account, identity.device), lost)
    rosters = Rosters(store, rest, keychain.trust, chains, transparency, lost, events.publish)
    first_contact = FirstContact(store, keychain, rest, rosters, identity)
    memberships = Memberships(store, rest, rosters, chains, first_contact, outbox, own_list, identity)
    joins = Joins(store, keychain, identity.device)
    links = Links(store, rest, rosters, memberships, first_contact, joins, identity, origin)
    return Services(
        *(identity, store, keychain, rest, rosters, own_list, chains, first_contact, memberships),
        NamedLists(store, keychain.trust.lists),
        *(events, outbox, joins, links, transparency, Search(store)),
    )


class Connector(Protocol):
    """What keeps a connection: `varde.reconnector.Reconnector`."""

    async def run(self) -> VardeError:
        """Connect again and again; return why there is no point in going on."""

    def reconnect(self) -> None:
        """Try now, instead of waiting for the next try."""

    async def aclose(self) -> None:
        """Close the connection, if there is one."""


class ClientTasks:
    """The tasks of one client. Implements `ConnectionListener` and `varde.receiver.BackgroundWork`."""

    def __init__(
        self, services: Services, nursery: trio.Nursery, make_connector: Callable[[ConnectionListener], Connector]
    ) -> None:
        self._services = services
        self._nursery = nursery
        self._receiver = Receiver(services, self)
        self._prekeys = PrekeyUploads(services.store, services.rest, services.identity.device)
        self._connector = make_connector(self)
        self._was_connected = False
        services.outbox.start_sender = self._start_sender
        services.outbox.reconnect = self._connector.reconnect
        nursery.start_soon(self._run_connector)
        nursery.start_soon(services.rosters.run)
        nursery.start_soon(self._prekeys.run)
        nursery.start_soon(Expiry(services.store, services.events).run)
        nursery.start_soon(services.search.run)
        nursery.start_soon(services.transparency.run)
        nursery.start_soon(ListLookups(services.store, services.transparency).run)
        # What an earlier process wrote goes before anybody calls anything: an application may only listen.
        services.outbox.resume()
        for conversation in services.store.chains.all_pending():
            nursery.start_soon(self._finish_statements, conversation)

    def on_connected(self, connection: Connection) -> None:
        """Join every conversation, and go on sending."""
        # The receiver first: it joins, and what waits may be encrypted only once that is answered.
        self._receiver.set_connection(connection)
        self._services.outbox.set_connection(connection)
        self.look_at_requests()
        for head in connection.welcome.heads:
            self._services.rosters.note_version(head.conversation, head.roster_version)
        self._nursery.start_soon(self._check_own_list)
        self._nursery.start_soon(self._follow_epoch, connection.welcome.epoch)
        self._services.events.publish(Connected(self._was_connected))
        self._was_connected = True

    def on_frames(self, frames: Sequence[ServerFrame]) -> None:
        """Hand the frames of one message to the receiver."""
        self._receiver.receive(frames)

    def on_disconnected(self, why: str, retry_in_s: float | None) -> None:
        """Stop using the connection, and tell the application."""
        self._receiver.drop_connection()
        self._services.outbox.drop_connection()
        self._services.events.publish(Disconnected(why, retry_in_s))

    def look_up_sender(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> None:
        """See `BackgroundWork`."""
        self._nursery.start_soon(self._look_up_sender, conversation, device, profile)

    def catch_up(self, conversation: ConversationId) -> None:
        """See `BackgroundWork`."""
        self._nursery.start_soon(self._catch_up, conversation)

    def learn_lists(self, conversation: ConversationId) -> None:
        """See `BackgroundWork`."""
        self._nursery.start_soon(self._learn_lists, conversation)

    def call_later(self, after_ms: int, action: Callable[[], None]) -> None:
        """See `BackgroundWork`."""
        self._nursery.start_soon(self._call_later, after_ms, action)

    def look_at_requests(self) -> None:
        """See `BackgroundWork`."""
        if self._services.links.expects_somebody:
            self._nursery.start_soon(self._look_at_requests)

    def refill_prekeys(self) -> None:
        """See `BackgroundWork`."""
        self._prekeys.wake()

    async def aclose(self) -> None:
        """Close the connection, then end every task. What is not acked stays in the store."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
            await self._connector.aclose()
        self._nursery.cancel_scope.cancel()
        # Last: an ack that comes while the connection closes still reaches whoever waits for it.
        self._end(Ended("the client was closed"))
        with trio.CancelScope(shield=True):
            await self._services.search.aclose()

    def _end(self, error: VardeError) -> None:
        self._services.outbox.close(error)
        self._services.events.close(error)

    async def _run_connector(self) -> None:
        self._end(await self._connector.run())

    def _start_sender(self, conversation: ConversationId) -> None:
        self._nursery.start_soon(ConversationSender(conversation, self._services).run)

    async def _check_own_list(self) -> None:
        """Say what the account's own list holds that this device did not sign. What cannot be checked now waits."""
        identity, publish = self._services.identity, self._services.events.publish
        try:
            learned = await self._services.own_list.refresh()
        except (RootKeyChanged, ListRollback, UntrustedDevice) as fault:
            # Whoever shows another list of one's own devices has others encrypt for devices that are not one's own.
            # Before the connection closes: meanwhile nothing may be encrypted for what that list names.
            self._end(fault)
            await self._connector.aclose()
            return
        except VardeError:
            return
        for before, after in learned:
            known = set() if before is None else {listed.device for listed in before.devices}
            now = {listed.device for listed in after.devices}
            added, gone = tuple(sorted(now - known)), tuple(sorted(known - now))
            publish(OwnListChanged(after.number, added, gone, identity.device in now))
        for event in root_key_changes(identity.account, learned):
            publish(event)

    async def _follow_epoch(self, epoch: EpochId | None) -> None:
        """After a loss, look at every conversation: what the server lacks and this device holds is put back.

        Whoever was removed in the time that is lost is a member again until somebody does.
        """
        store, rosters = self._services.store, self._services.rosters
        before = store.settings.find(EPOCH, EpochId)
        if epoch is None or epoch == before:
            return
        if before is not None:
            self._prekeys.wake()  # the server has forgotten them
            backoff = Backoff()
            for conversation in store.chains.all_ids():
                while True:
                    try:
                        await rosters.catch_up(conversation)
                    except (Unreachable, Busy):
                        await trio.sleep(backoff.next())
                        continue
                    except VardeError:
                        pass  # it is told to whoever sends there
                    backoff.reset()
                    break
        with store.transaction():
            store.settings.put(EPOCH, epoch)  # last: after a crash all of it is looked at again

    async def _look_up_sender(self, conversation: ConversationId, device: DeviceId, profile: ProfileId) -> None:
        backoff, reason = Backoff(), Reason.UNKNOWN_SENDER
        while True:
            try:
                await self._services.rosters.verify_sender(conversation, device, profile)
            except (Unreachable, Busy):
                await trio.sleep(backoff.next())
                continue
            except RootKeyChanged:
                reason = Reason.ROOT_KEY_CHANGED
            except VardeError:
                pass  # the receiver then stores the message as undecryptable, from an unknown sender
            self._receiver.release(conversation, device, profile, reason)
            return

    async def _look_at_requests(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._services.links.accept_waiting(self._services.events.publish)
            except (Unreachable, Busy):
                await trio.sleep(backoff.next())
                continue
            except VardeError:
                pass  # the request stays, for a person to answer
            return

    async def _catch_up(self, conversation: ConversationId) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._services.rosters.catch_up(conversation)
            except (Unreachable, Busy):
                await trio.sleep(backoff.next())
                continue
            except VardeError:
                pass  # the receiver then shows the statement as one that nothing proves
            self._receiver.release_chain(conversation)
            return

    async def _learn_lists(self, conversation: ConversationId) -> None:
        backoff, named = Backoff(), self._services.named_lists
        await trio.sleep(LISTS_PAUSE_SECONDS)
        while True:
            accounts = named.wanted(conversation)
            unknown: frozenset[AccountId] = frozenset()
            try:
                unknown = await self._services.rosters.learn_lists(conversation, accounts)
            except (Unreachable, Busy):
                await trio.sleep(backoff.next())
                continue
            except Refusal:
                unknown = accounts  # this account is no member any more, and is shown nothing
            except VardeError:
                pass  # what does not verify explains nothing
            self._receiver.judge_lists(conversation, unknown)
            return

    async def _finish_statements(self, conversation: ConversationId) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._services.memberships.finish(conversation)
            except (Unreachable, Busy):
                await trio.sleep(backoff.next())
            except VardeError:
                return  # it is a member no more, or nothing is proven: whoever sends there is told
            else:
                return

    async def _call_later(self, after_ms: int, action: Callable[[], None]) -> None:
        await trio.sleep(after_ms / 1_000)
        action()
