"""The run: people sign up and talk, one fault after the other comes and goes, and after each the books are closed."""

import os
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final
from uuid import UUID

import trio

import varde
from chaos.account import Account, FaultResult, Log, Said, add_up, to_json
from chaos.faults import FAULTS
from chaos.machines import HERE, Machines
from chaos.patroni import PatroniCluster
from chaos.system import ChaosSystem, open_chaos_system
from demo.people import SignUps, make_person
from supervisor.events import LogLine, ProcessEvent, Report
from varde.errors import UnprovenList, VardeError
from varde.events import Disconnected, Message
from varde_contract.exception_groups import ungrouped
from varde_contract.ids import ConversationId

PEOPLE: Final = ("alice", "bob", "carol", "dave")
PAUSE: Final = 0.2
"""Seconds between two messages of one person in one conversation, at the least."""
AFTERWARDS: Final = 1.0
"""Seconds of talk after a fault has passed."""
PATIENCE: Final = 60.0
"""Seconds until everything acked must have been shown."""
QUICK_SECONDS: Final = 1.5
FULL_SECONDS: Final = 5.0
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
            # Without a deadline: the client waits through every fault. One thing it has to refuse: a log of device
            # lists that was signed at another time than now, by a worker with a wrong clock. Then nothing was acked.
            with suppress(UnprovenList):
                sent = await open_conversation.send(said.text)
                self.account.acked[conversation, said] = sent.seq
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
    repeat: str,
    say: Callable[[str], None],
) -> bool:
    """Run the faults, write `output`, and return whether every book was clean. Raises what starting a system raises.

    `repeat` is the command that does the same again.
    """
    dice = random.Random(seed)  # noqa: S311 - a seed is to repeat it
    run = _Run(machines, dice, seed, seconds, nodes, say)
    await trio.Path(output.parent).mkdir(parents=True, exist_ok=True)
    say(f"chaos: repeat it with {repeat}")
    say(f"chaos: seed {seed}, {nodes} nodes, {len(PEOPLE)} people, {seconds:g} s of each fault")
    if machines.refusal:
        say(f"chaos: partitions are made by the chaos proxy: {machines.refusal}")
    with output.with_suffix(".log").open("w", buffering=1, encoding="utf-8") as log:
        for cluster in (False, True):
            chosen = [name for name in names if FAULTS[name].cluster is cluster]
            if chosen:
                await run.run_faults(chosen, _reporter(log.write), cluster=cluster)
    results, memory = run.results, run.memory
    total = add_up(results, seed)
    too_large = [part for part, mib in memory.items() if mib > MEMORY_MIB]
    if too_large:
        say(f"chaos: more than {MEMORY_MIB} MiB: {', '.join(too_large)}")
    facts: dict[str, object] = {
        "seed": seed,
        "repeat": repeat,
        "nodes": nodes,
        "seconds": seconds,
        "memory_mib": memory,
        "skipped": run.skipped,
    }
    await trio.Path(output).write_bytes(to_json(results, total, facts))
    say(_describe("", total))
    return not too_large and all(result.clean and result.acked for result in results.values())


@dataclass(slots=True)
class _Run:
    machines: Machines
    dice: random.Random
    seed: int
    seconds: float
    nodes: int
    say: Callable[[str], None]
    results: dict[str, FaultResult] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    async def run_faults(self, names: Sequence[str], report: Report, *, cluster: bool) -> None:
        """Run these on one system."""
        with ungrouped(), tempfile.TemporaryDirectory(prefix="varde-chaos-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            async with (
                open_chaos_system(folder, self.dice, report, self.machines, nodes=self.nodes, cluster=cluster) as chaos,
                _open_people(chaos, folder) as people,
            ):
                for each in names:
                    refusal = FAULTS[each].refuse(self.machines)
                    if refusal:
                        self.skipped[each] = refusal
                        self.say(f"chaos: {each}: skipped: {refusal}")
                        continue
                    # Of the same fault twice, each has its own books.
                    label = each if each not in self.results else f"{each}-{len(self.results) + 1}"
                    self.results[label] = await self._run_fault(chaos, people, each, label)
                    for part, mib in chaos.memory().items():
                        self.memory[part] = max(self.memory.get(part, 0), mib)
                    self.say(_describe(label, self.results[label]))

    async def _run_fault(self, chaos: ChaosSystem, people: People, name: str, label: str) -> FaultResult:
        stop, began = trio.Event(), trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(people.talk, label, stop)
            await FAULTS[name].apply(chaos, self.dice, self.seconds)
            await trio.sleep(AFTERWARDS)  # talk goes on
            stop.set()
            ended = trio.current_time()
            nursery.cancel_scope.deadline = trio.current_time() + PATIENCE
        with trio.move_on_after(PATIENCE):
            while people.account.missing(label):  # noqa: ASYNC110 - four people, and a look is cheap
                await trio.sleep(0.05)
        log = None if chaos.cluster is None else await trio.to_thread.run_sync(_read_log, chaos.cluster)
        result = people.account.close(label, (began, ended), self.seed, cuts=FAULTS[name].cuts, log=log)
        result.may_disorder = FAULTS[name].may_disorder
        return result


def _read_log(cluster: PatroniCluster) -> Log:
    rows = (line.split("|") for line in cluster.ask("SELECT conversation_id, seq FROM message"))
    return {(ConversationId(UUID(conversation)), int(seq)) for conversation, seq in rows}


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
