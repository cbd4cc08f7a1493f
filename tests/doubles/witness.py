"""A witness over httpx's mock transport: it keeps to the protocol, or breaks it in one way."""

from collections.abc import AsyncIterator

import httpx
import trio

from varde_contract.transparency.checkpoint import Checkpoint, Ed25519Signer, Signer
from varde_contract.transparency.merkle import check_consistency
from varde_contract.transparency.note import SignatureType
from varde_contract.transparency.proof import AddCheckpoint

NOW = 1_700_000_000
STRANGER = Ed25519Signer("witness.example/stranger", b"z" * 32, SignatureType.COSIGNATURE_ED25519)


class WitnessDouble:
    """One witness. `conflicts` counts how often it was asked with another old size than its own."""

    def __init__(self, signer: Signer, fault: str = "") -> None:
        self.signer = signer
        self.fault = fault
        self.seen: Checkpoint | None = None
        self.conflicts = 0
        self.paths: set[str] = set()

    async def answer_later(self, request: httpx.Request) -> httpx.Response:
        """Answer, if ever."""
        if self.fault == "slow":
            await trio.sleep_forever()
        if self.fault == "down":
            raise httpx.ConnectError("nobody there")
        return self.answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer as tlog-witness says."""
        self.paths.add(request.url.path)
        asked = AddCheckpoint.parse(request.content)
        checkpoint = Checkpoint.parse(asked.checkpoint.text)
        match self.fault:
            case "refuses":
                return httpx.Response(403)
            case "babbles":
                return httpx.Response(200, content=b"\xff")
            case "floods":
                return httpx.Response(200, content=_without_end())
            case "ahead":
                return httpx.Response(409, content=b"99\n", headers={"Content-Type": "text/x.tlog.size"})
            case "lies":
                return self._cosign(checkpoint._replace(size=checkpoint.size + 1))
            case "stranger":
                return httpx.Response(200, content=STRANGER.sign(checkpoint, NOW).line().encode())
        seen = 0 if self.seen is None else self.seen.size
        if asked.old != seen:
            self.conflicts += 1
            return httpx.Response(409, content=f"{seen}\n".encode(), headers={"Content-Type": "text/x.tlog.size"})
        if self.seen is not None and seen:
            check_consistency(seen, checkpoint.size, self.seen.root, checkpoint.root, asked.hashes)
        self.seen = checkpoint
        return self._cosign(checkpoint)

    def _cosign(self, checkpoint: Checkpoint) -> httpx.Response:
        return httpx.Response(200, content=self.signer.sign(checkpoint, NOW).line().encode())


async def _without_end() -> AsyncIterator[bytes]:
    while True:
        await trio.lowlevel.checkpoint()
        yield bytes(1 << 20)
