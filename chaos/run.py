"""The run: people sign up and talk, one fault after the other comes and goes, and after each the books are closed."""

import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Final

import trio

import varde
from chaos.account import Account, FaultResult, Said, add_up, to_json
from chaos.faults import FAULTS
from chaos.machines import HERE, Machines
from chaos.system import ChaosSystem, open_chaos_system
from demo.people import SignUps, make_person
from supervisor.events import LogLine, ProcessEvent
from varde.errors import VardeError
from varde.events import Disconnected, Message
from varde_contract.ids import ConversationId

PEOPLE: Final = ("alice", "bob", "carol", "dave")
PAUSE: Final = 0.2
"""Seconds between two messages of one person in one conversation, at the least."""
AFTERWARDS: Final = 1.0
"""Seconds of talk after a fault has passed."""
PATIENCE: Final = 60.0
"""Seconds until everything acked must have been shown."""
QUICK_SECONDS: Final = 2.0
FULL_SECONDS: Final = 6.0
MEMORY_MIB: Final = 1_024
"""No program may take more, whatever happened; a hundred connections take less than a tenth of that."""


class People:
    """Four people who are online, a group of all of them, and two dms."""

    def __init__(self, clients: dict[str, varde.Client], account: Account) -> None:
        self.clients = clients
        self.account = account

    async def talk(self, fault: str, stop: trio.Event) -> None:
        """Let everybody say something in each of their conversations, again and again, until `stop` is set."""
        async with trio.open_nursery() as nursery:
            for name in self.clients:
                for conversation, members in self.account.members.items():
                    if name in members:
                        nursery.start_soon(self._say, fault, name, conversation, stop)

    async def _say(self, fault: str, name: str, conversation: ConversationId, stop: trio.Event) -> None:
        open_conversation = self.clients[name].conversation(conversation)
        for number in count(1):
            said = Said(fault, name, number)
            # Before it is sent: others may be shown it before its ack comes.
            self.account.sent[conversation, said] = trio.current_time()
            await open_conversation.send(said.text)  # without a deadline: the client waits through every fault
            self.account.acked[conversation, said] = trio.current_time()
            with trio.move_on_after(PAUSE):
                await stop.wait()
                return


async def run_chaos(
    names: Sequence[str],
    machines: Machines,
    *,
    seed: int,
    seconds: float,
    nodes: int,
    output: Path,
    say: Callable[[str], None],
) -> bool:
    """Run the faults, write `output`, and return whether every book was clean. Raises what starting a system raises."""
    dice = random.Random(seed)  # noqa: S311 - a seed is to repeat it
    results: dict[str, FaultResult] = {}
    memory: dict[str, int] = {}
    await trio.Path(output.parent).mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="varde-chaos-", ignore_cleanup_errors=True) as folder,
        output.with_suffix(".log").open("w", encoding="utf-8") as log,
    ):
        async with (
            open_chaos_system(Path(folder), dice, _reporter(log.write), machines, nodes=nodes) as chaos,
            _open_people(chaos, Path(folder)) as people,
        ):
            if machines.refusal:
                say(f"chaos: partitions are made by the chaos proxy: {machines.refusal}")
            say(f"chaos: seed {seed}, {nodes} nodes, {len(people.clients)} people, {seconds:g} s of each fault")
            for turn, name in enumerate(names):
                # Of the same fault twice, each has its own books.
                label = name if name not in results else f"{name}-{turn + 1}"
                results[label] = await _run_fault(chaos, people, name, label, dice, seconds, seed)
                memory = {part: max(memory.get(part, 0), mib) for part, mib in chaos.memory().items()}
                say(_describe(label, results[label]))
    total = add_up(results, seed)
    facts: dict[str, object] = {"seed": seed, "nodes": nodes, "seconds": seconds, "memory_mib": memory}
    await trio.Path(output).write_bytes(to_json(results, total, facts))
    say(_describe("", total))
    too_large = [part for part, mib in memory.items() if mib > MEMORY_MIB]
    if too_large:
        say(f"chaos: more than {MEMORY_MIB} MiB: {', '.join(too_large)}")
    return total.clean and not too_large and all(result.acked for result in results.values())


async def _run_fault(
    chaos: ChaosSystem, people: People, name: str, label: str, dice: random.Random, seconds: float, seed: int
) -> FaultResult:
    stop, began = trio.Event(), trio.current_time()
    with trio.move_on_after(PATIENCE + seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(people.talk, label, stop)
            await FAULTS[name].apply(chaos, dice, seconds)
            await trio.sleep(AFTERWARDS)  # talk goes on
            stop.set()
        while people.account.missing(label):  # noqa: ASYNC110 - four people, and a look is cheap
            await trio.sleep(0.05)
    return people.account.close(label, began, seed, cuts=FAULTS[name].cuts)


def _describe(name: str, result: FaultResult) -> str:
    what = f"{name}: " if name else ""
    cut = f", {result.cut} cut" if result.cut else ""
    return (
        f"chaos: {what}{result.acked} acked, {result.shown} shown, {result.lost} lost, {result.repeated} repeated, "
        f"{result.misdelivered} misdelivered, {result.disordered} disordered{cut}; "
        f"longest outage {result.longest_outage_s:.1f} s, {result.budget_percent:.2f} % of a month's budget"
    )


def _reporter(write: Callable[[str], object]) -> Callable[[ProcessEvent], None]:
    def report(event: ProcessEvent) -> None:
        write(f"{event.name}: {event.line}\n" if isinstance(event, LogLine) else f"{event}\n")

    return report


@asynccontextmanager
async def _open_people(chaos: ChaosSystem, folder: Path) -> AsyncIterator[People]:
    os.environ["SSL_CERT_FILE"] = str(chaos.certificate.authority_file)  # of all clients in this process
    api_url = f"https://{HERE}:{chaos.requests.port}"
    sign_ups = SignUps(api_url, chaos.data / "outbox")
    people = {name: make_person(folder / "homes", name, ("phone",)) for name in PEOPLE}
    async with trio.open_nursery() as nursery:
        for person in people.values():
            nursery.start_soon(sign_ups.sign_up, person)
    account = Account(members={}, names={person.address: name for name, person in people.items()})
    async with AsyncExitStack() as stack:
        clients = {}
        for name, person in people.items():
            (device,) = person.devices.values()
            clients[name] = await stack.enter_async_context(varde.connect(device.home, device.unlock))
        async with trio.open_nursery() as nursery:
            for name, client in clients.items():
                nursery.start_soon(_read, client, name, account)
            await _open_conversation(account, clients, PEOPLE)
            await _open_conversation(account, clients, PEOPLE[:2])
            await _open_conversation(account, clients, PEOPLE[2:])
            yield People(clients, account)
            nursery.cancel_scope.cancel()


async def _open_conversation(account: Account, clients: dict[str, varde.Client], names: Sequence[str]) -> None:
    profiles = {name: profile for profile, name in account.names.items()}
    first, *others = names
    if len(others) == 1:
        conversation = await clients[first].open_dm(profiles[others[0]])
    else:
        conversation = await clients[first].open_group([profiles[name] for name in others])
    account.members[conversation.id] = frozenset(names)
    for name in others:
        await clients[name].conversation(conversation.id).accept()


async def _read(client: varde.Client, name: str, account: Account) -> None:
    try:
        async for event in client.events():
            if isinstance(event, Message) and not event.mine:
                row = (trio.current_time(), event.conversation, event.profile, Said.parse(event.text))
                account.shown[name].append(row)
            elif isinstance(event, Disconnected):
                account.disconnected.append(trio.current_time())
    except VardeError as error:
        sys.stderr.write(f"chaos: {name}'s client ended: {error}\n")
