"""Witnesses are asked to cosign the log (C2SP tlog-witness v1.0.0), all at once, and what they say is checked."""

import logging
from http import HTTPStatus
from typing import Final, NamedTuple, Self

import httpx
import trio
from msgspec import structs

from domain.transparency.log import Log
from domain.transparency.model import SignedHead
from domain.transparency.ports import LogStore
from varde_contract.errors import PeerFault
from varde_contract.transparency.checkpoint import signed_time
from varde_contract.transparency.note import (
    NOTE_BYTES,
    Note,
    NoteSignature,
    parse_note,
    parse_number,
    parse_signatures,
)
from varde_contract.transparency.policy import Policy, Witness
from varde_contract.transparency.proof import AddCheckpoint

PATIENCE: Final = 20.0
"""Seconds, for one witness."""
CONFLICT: Final = HTTPStatus.CONFLICT
"""The witness has cosigned another size than we said. With the content type `text/x.tlog.size` its answer is that
size."""

_PLAIN: Final = {"Accept-Encoding": "identity"}
"""What is compressed has no bound before it is read."""

_log: Final = logging.getLogger("varde.worker")


class Witnesses:
    """The witnesses of a policy that have a URL. Use it with `async with`."""

    def __init__(self, policy: Policy, store: LogStore, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._policy = policy
        self._store = store
        self._client = httpx.AsyncClient(timeout=PATIENCE, transport=transport)
        self._cosigned: dict[str, int] = {}
        """By URL, what a witness has cosigned last. It says so itself when this is wrong or not known."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask_all(self) -> bool:
        """Have the newest checkpoint cosigned, and keep it when enough have done so. Raises StoreUnavailable."""
        head = await self._store.head()
        if head is None:
            return False
        note, lines = parse_note(head.note), list[NoteSignature]()
        # A witness with several keys has one entry for each, and answers with all its signatures at once.
        by_url = {each.url: each for each in self._policy.witnesses.values() if each.url}
        async with trio.open_nursery() as nursery:
            for witness in by_url.values():
                nursery.start_soon(self._ask, witness, head, note, lines)
        cosigned = note.signed(lines)
        if not self._policy.accepts(cosigned):
            return False
        await self._store.keep_cosigned(structs.replace(head, note=cosigned.encode()))
        return True

    async def _ask(self, witness: Witness, head: SignedHead, note: Note, lines: list[NoteSignature]) -> None:
        who = witness.key.name
        try:
            # httpx's timeout is for each read: a witness that sends a byte now and then would hold up all the others
            # for ever.
            with trio.fail_after(PATIENCE):
                answer = await self._post(witness.url, head, note)
                if answer.status == CONFLICT and answer.media_type == "text/x.tlog.size":
                    self._cosigned[witness.url] = parse_number(answer.content.decode().removesuffix("\n"))
                    answer = await self._post(witness.url, head, note)
            found = _lines_of(answer)
        except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError, OSError, UnicodeDecodeError, PeerFault) as fault:
            _log.warning("the witness %s has not cosigned: %s", who, str(fault) or type(fault).__name__)
            return
        self._cosigned[witness.url] = head.size
        lines += self._verified(note, found, witness.url)

    async def _post(self, url: str, head: SignedHead, note: Note) -> "_Answer":
        # 0 after a start, with an empty proof: a witness that knows the log answers with its size, and is asked once
        # more.
        old = self._cosigned.get(url, 0)
        proof = await Log(self._store).consistency(old, head.size) if old else ()
        if proof is None:
            raise PeerFault("it has seen a larger log than this one")
        body = AddCheckpoint(old, proof, note).encode()
        asked = self._client.stream("POST", f"{url.rstrip('/')}/add-checkpoint", content=body, headers=_PLAIN)
        async with asked as response:
            if response.headers.get("content-encoding", _PLAIN["Accept-Encoding"]) != _PLAIN["Accept-Encoding"]:
                raise PeerFault("its answer is compressed, unasked")
            content = bytearray()
            with trio.CancelScope() as scope:
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > NOTE_BYTES:
                        # Leaving the loop would leave httpx's generators to the garbage collector; this ends them.
                        scope.cancel()
            if scope.cancelled_caught:
                raise PeerFault("its answer is longer than a note may be")
            return _Answer(response.status_code, response.headers.get("content-type", ""), bytes(content))

    def _verified(self, note: Note, found: tuple[NoteSignature, ...], url: str) -> list[NoteSignature]:
        """Return the lines of those keys of the policy that are at this URL; others are passed over."""
        keys = {(each.key.name, each.key.id): each.key for each in self._policy.witnesses.values() if each.url == url}
        lines = []
        for line in found:
            key = keys.get((line.name, line.key_id))
            try:
                if key is not None and signed_time(note.signed([line]), key) is not None:
                    lines.append(line)
            except PeerFault as fault:
                _log.warning("the witness %s: %s", line.name, fault)
        return lines


class _Answer(NamedTuple):
    status: int
    media_type: str
    content: bytes


def _lines_of(answer: _Answer) -> tuple[NoteSignature, ...]:
    if answer.status != HTTPStatus.OK:
        raise PeerFault(f"it answered {answer.status}")
    return parse_signatures(answer.content.decode())
