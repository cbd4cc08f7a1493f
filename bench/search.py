"""What the search on a device costs: `python -m bench.search` makes a home with messages and measures it.

Prints a table and writes build/search.json. The texts are drawn by Zipf's law from a vocabulary, as languages are.
"""

import itertools
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import click
import trio

from varde.clock import fresh_id
from varde.events import Message
from varde.search import Search
from varde.store import KeyFile, Store, open_store
from varde_contract.ids import ENTROPY_BYTES, AccountId, ClientId, ConversationId, DeviceId, ProfileId, uuid7

T = TypeVar("T")

MESSAGES: Final = 200_000
CONVERSATIONS: Final = 50
VOCABULARY: Final = 30_000
WORDS: Final = (2, 25)
AT_ONCE: Final = 2_000
QUERIES: Final = {
    "a rare word": "{rare}",
    "a common word": "{common}",
    "one letter": "{letter}",
    "two words": "{common} {rare}",
    "a phrase of two": '"{common} {second}"',
    "a common word in one conversation": "{common}",
    "nothing": "qqqqqqqqqq",
}
REPEATS: Final = 20


@click.command()
@click.option("--messages", default=MESSAGES, show_default=True, help="How many.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/search.json"), show_default=True)
def main(messages: int, out: Path) -> None:
    """Measure the search over so many messages in a folder of its own, which is deleted."""
    with tempfile.TemporaryDirectory() as folder:
        results = trio.run(_measure, Path(folder), messages)
    for name, value in results.items():
        click.echo(f"{name:<44} {value:>14,}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n")


async def _measure(folder: Path, messages: int) -> dict[str, float]:
    results: dict[str, float] = {"messages": messages}
    vocabulary = _vocabulary()
    async with open_store(folder, KeyFile(folder / "key"), make=True) as store:
        _fill(store, vocabulary, messages)
        results["bytes of text"] = _text_bytes(vocabulary, messages)
        results["bytes of the store"] = (folder / "store.sqlite").stat().st_size
        before = _resident()
        search = Search(store)
        results["build from the log, s"] = await _timed(lambda: search.find("x"))
        results["memory of the index, bytes"] = _resident() - before
        results["write the snapshot, s"] = await _timed(search.aclose)
        results["bytes of the snapshot"] = (folder / "search.sealed").stat().st_size
        search = Search(store)
        results["open from the snapshot, s"] = await _timed(lambda: search.find("x"))
        given = {"common": vocabulary[3], "second": vocabulary[1], "rare": vocabulary[-9], "letter": vocabulary[0][0]}
        for name, template in QUERIES.items():
            words = template.format(**given)
            where = _conversation(0) if "conversation" in name else None
            times = [
                await _timed(lambda words=words, where=where: search.find(words, conversation=where))  # type: ignore[misc]
                for _ in range(REPEATS)
            ]
            results[f"query: {name}, ms"] = round(sorted(times)[REPEATS // 2] * 1_000, 2)
    results["most memory of the process, bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
    return results


async def _timed(work: Callable[[], Awaitable[T]]) -> float:
    began = time.perf_counter()
    await work()
    return round(time.perf_counter() - began, 4)


def _vocabulary() -> list[str]:
    draw = random.Random(1)  # noqa: S311 - the same words in every run
    letters = "eeerrnnttsssiillaadddkkoogmvfhupbøyjåæ"
    words = {"".join(draw.choices(letters, k=draw.randint(2, 12))) for _ in range(VOCABULARY * 2)}
    return sorted(words, key=lambda word: (len(word), word))[:VOCABULARY]


def _texts(vocabulary: list[str], messages: int) -> Iterator[str]:
    draw = random.Random(2)  # noqa: S311 - the same texts in every run
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(vocabulary) + 1)))
    for _ in range(messages):
        yield " ".join(draw.choices(vocabulary, cum_weights=weights, k=draw.randint(*WORDS)))


def _text_bytes(vocabulary: list[str], messages: int) -> int:
    return sum(len(text.encode()) for text in _texts(vocabulary, messages))


def _conversation(number: int) -> ConversationId:
    return ConversationId(uuid7(number, bytes(ENTROPY_BYTES)))


def _fill(store: Store, vocabulary: list[str], messages: int) -> None:
    profile, device, account = ProfileId(fresh_id()), DeviceId(fresh_id()), AccountId(fresh_id())
    now, texts = datetime.now(UTC), _texts(vocabulary, messages)
    for start in range(0, messages, AT_ONCE):
        with store.transaction(durable=False):
            for number, text in enumerate(itertools.islice(texts, AT_ONCE), start=start):
                message = Message(
                    conversation=_conversation(number % CONVERSATIONS),
                    seq=number // CONVERSATIONS + 1,
                    client_id=ClientId(fresh_id()),
                    profile=profile,
                    device=device,
                    account=account,
                    written=now,
                    received=now,
                    mine=False,
                    text=text,
                )
                store.log.add(message)
        if sys.stderr.isatty():
            click.echo(f"\r{start + AT_ONCE:,} messages written", nl=False, err=True)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
