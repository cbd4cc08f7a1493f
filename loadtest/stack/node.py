"""`python -m loadtest.stack.node PLAN FOLDER [CERTIFICATE KEY]`: the real node alone, with nothing behind it.

It is `relay.node.run_node`, `relay.node.run_node`, with its listeners, admission, Noise, tickets and journal.

Two things are not as in production, and only here: the stores hold no database (rosters are computed from the plan, and
the journal commits at once), and the limits that protect a node from one address or one device are lifted, because all
load comes from this machine. It says its port in a line of JSON. When its input is a pipe, it ends with that: it does
not outlive who started it.
"""

import json
import logging
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from random import SystemRandom
from types import SimpleNamespace
from typing import Any, Final

import trio

from domain.fleet.model import Node, Order
from domain.ports import Stores
from domain.talk import model as talk
from loadtest.stack.rooms import Plan, account_of, conversation_of, device_of, number_of, profile_of, read_node
from relay.node import run_node
from relay.services import Dependencies
from settings.relay import RelaySettings
from settings.tls import TlsFiles
from tls.certificate import TlsCertificate
from varde_contract.ids import ENTROPY_BYTES, ConversationId, EpochId, uuid7
from varde_contract.noise import KeyPair
from varde_contract.talk import ConversationKind, Role

LIFTED: Final = 1_000_000_000
ROSTER_VERSION: Final = 1


class PlannedStores:
    """Every room of the plan is a group whose roster never moves; every device has confirmed everything."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._heads: Counter[ConversationId] = Counter()

    def open(self) -> Stores:
        """Return the stores; what only the API asks for is not there."""
        named: dict[str, Any] = dict.fromkeys(Stores.__struct_fields__)
        named["conversations"] = _port(
            rosters=lambda asked: {each: self._roster(each) for each in asked},
            list_many=lambda asked: [self._heads_before(each.device, each.before) for each in asked],
            log_heads=lambda _: {},  # nothing that this node has not heard of: there is no other
            recent_heads=lambda *_: {},
        )
        named["journal"] = _port(commit=self._commit, find_committed=lambda keys: [None] * len(keys))
        named["mailbox"] = _port(
            read=lambda asked: [self._page(each) for each in asked],
            confirm=lambda confirmations: confirmations,
            mark_read=lambda marks: range(len(marks)),
        )
        named["devices"] = _port(revocations=lambda _: ())
        named["epochs"] = _port(look=lambda: None)
        named["epochs"].known = (EpochId(uuid7(0, bytes(ENTROPY_BYTES))),)
        named["nodes"] = _port(beat=lambda report: [Node(report, Order(), 0)], leave=lambda _: None)
        named["bus"] = _port(publish=lambda _: None)
        named["bus"].listen = lambda *_: nullcontext()
        named["bus"].connected, named["bus"].down_seconds = True, 0.0
        named["schema"] = _port(fits=lambda: True)
        named["spending"] = _port(add=lambda spent: [each.milliseconds for each in spent])
        return Stores(**named)

    def _commit(self, drafts: Sequence[talk.Draft]) -> list[talk.Committed]:
        committed = []
        for draft in drafts:
            self._heads[draft.conversation] = seq = self._heads[draft.conversation] + 1
            committed.append(talk.Committed(draft.message, seq, draft.sent_ms, duplicate=False))
        return committed

    def _page(self, request: talk.LogRequest) -> talk.LogPage | None:
        if number_of(request.device) not in self._plan.members_of(number_of(request.conversation)):
            return None
        head = self._heads[request.conversation]
        after = max(request.from_seq, head + 1)
        return talk.LogPage(request.conversation, request.from_seq, after, head, start=1, upto=head, entries=())

    def _head(self, device: Any) -> talk.ConversationHead:
        conversation = conversation_of(self._plan.room_of(number_of(device)))
        head = self._heads[conversation]
        return talk.ConversationHead(conversation, head, head, ROSTER_VERSION, 0)

    def _heads_before(self, device: Any, before: ConversationId | None) -> tuple[talk.ConversationHead, ...]:
        head = self._head(device)
        return (head,) if before is None or head.conversation < before else ()

    def _roster(self, conversation: ConversationId) -> talk.Roster:
        numbers = self._plan.members_of(number_of(conversation))
        granted: dict[str, Any] = dict.fromkeys(("read_receipts", "delivery_receipts", "typing", "presence"), True)
        profiles = {each: profile_of(each) for each in numbers}
        members = {
            profile: talk.Member(profile=profile, account=account_of(each), role=Role.MEMBER, from_seq=1, **granted)
            for each, profile in profiles.items()
        }
        devices = {device_of(each): frozenset((profile,)) for each, profile in profiles.items()}
        return talk.Roster(conversation, ConversationKind.GROUP, ROSTER_VERSION, members, devices)


def _port(**calls: Callable[..., Any]) -> SimpleNamespace:
    """A store whose calls answer at once, each after a checkpoint, as calls of a database have one."""

    def method(compute: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            await trio.lowlevel.checkpoint()
            return compute(*arguments)

        return call

    return SimpleNamespace(**{name: method(compute) for name, compute in calls.items()})


async def _run(plan: Plan, folder: Path, files: TlsFiles | None) -> None:
    (private, ticket_public), default = read_node(folder), RelaySettings()
    # The node's defaults, but for what would protect it from this benchmark.
    settings = RelaySettings(
        port=0,
        connections=LIFTED,
        handshakes_per_address=default.handshakes,
        strangers_per_address=default.strangers,
        connects_per_second=LIFTED,
        handshakes_per_second=LIFTED,
        newcomers=LIFTED,
        frames_per_second=LIFTED,
        bytes_per_second=LIFTED,
    )
    dependencies = Dependencies(
        static=KeyPair.from_private(private),
        ticket_publics=[ticket_public],
        clock=_now_ms,
        monotonic_clock=_now_ms,
        entropy=os.urandom,
        random=SystemRandom(),
        allowances={},
        certificate=None if files is None else TlsCertificate(files, _now_ms),
    )
    async with trio.open_nursery() as nursery:
        if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
            nursery.start_soon(_end_with_input, nursery.cancel_scope)
        stores = PlannedStores(plan).open()
        # All of the node: a hot path taken out of it for the benchmark would be another hot path.
        address = await nursery.start(run_node, settings, stores, dependencies, trio.Event())
        sys.stdout.write(json.dumps({"port": int(address.rpartition(":")[2])}) + "\n")
        sys.stdout.flush()


async def _end_with_input(scope: trio.CancelScope) -> None:
    await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    scope.cancel()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    PLAN, FOLDER, *FILES = sys.argv[1:]
    trio.run(_run, Plan(PLAN), Path(FOLDER), TlsFiles(Path(FILES[0]), Path(FILES[1])) if FILES else None)
