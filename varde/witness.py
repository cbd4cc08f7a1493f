"""A witness (C2SP tlog-witness v1.0.0): it cosigns a log's checkpoint when that continues what it has cosigned before.

It sees sizes and hashes, never an entry. Two histories of one log cannot both have the cosignatures of one witness.
"""

import base64
import hashlib
import os
import tempfile
import threading
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from varde.errors import StoreDamaged, VardeError
from varde_contract.errors import PeerFault
from varde_contract.transparency.checkpoint import (
    ORIGIN_BYTES,
    Checkpoint,
    Ed25519Signer,
    MlDsaSigner,
    Signer,
    signed_time,
)
from varde_contract.transparency.merkle import EMPTY_ROOT, HASH_BYTES, check_subtree
from varde_contract.transparency.note import NOTE_BYTES, Note, SignatureType, is_key_name
from varde_contract.transparency.policy import Policy
from varde_contract.transparency.proof import AddCheckpoint

REQUEST_BYTES = NOTE_BYTES + 4 * 1024
"""A note, and a proof of at most 63 lines."""
KEY = "witness.key"
SEED_BYTES = 32


class Answer(NamedTuple):
    """What a request is answered with."""

    status: HTTPStatus
    body: str = ""
    media_type: str = "text/plain; charset=utf-8"


class Witness:
    """A witness over a folder: its key, and for each log what it has cosigned last."""

    def __init__(self, folder: Path, policy: Policy, name: str | None = None) -> None:
        """`policy` names the logs. `name` is needed the first time, when the key is made.

        Raises VardeError, StoreDamaged, OSError.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._policy = policy
        self._lock = threading.Lock()
        self.signers = _open_key(folder, name)

    def add_checkpoint(self, body: bytes, time: int) -> Answer:
        """Answer `POST /add-checkpoint`; `time` in seconds. May be called by several threads."""
        try:
            asked = AddCheckpoint.parse(body)
            checkpoint = Checkpoint.parse(asked.checkpoint.text)
        except PeerFault as fault:
            return Answer(HTTPStatus.BAD_REQUEST, f"{fault}\n")
        if not self._policy.log_keys(checkpoint.origin):
            return Answer(HTTPStatus.NOT_FOUND, "this witness does not know that log\n")
        if not self._is_signed(asked.checkpoint, checkpoint.origin):
            return Answer(HTTPStatus.FORBIDDEN, "no key of that log has signed this\n")
        if asked.old > checkpoint.size:
            return Answer(HTTPStatus.BAD_REQUEST, "the old size is larger than the new one\n")
        # Compared and stored under one lock: of two requests at once, the smaller one must not be stored last.
        with self._lock:
            refusal = self._refuse(asked, checkpoint)
            if refusal is not None:
                return refusal
            # Before it is signed: a crash in between costs a signature. The other order could sign two histories.
            self._store(checkpoint)
        return Answer(HTTPStatus.OK, "".join(signer.sign(checkpoint, time).line() for signer in self.signers))

    def _is_signed(self, note: Note, origin: str) -> bool:
        try:
            return any(signed_time(note, key) is not None for key in self._policy.log_keys(origin))
        except PeerFault:
            return False

    def _refuse(self, asked: AddCheckpoint, checkpoint: Checkpoint) -> Answer | None:
        size, root = self._last(checkpoint.origin)
        # The log must say where it goes on from: so one that has two histories has to choose which this witness knows.
        if asked.old != size:
            return Answer(HTTPStatus.CONFLICT, f"{size}\n", "text/x.tlog.size")
        if size == checkpoint.size and size and root != checkpoint.root:
            return Answer(HTTPStatus.CONFLICT, f"{size}\n", "text/x.tlog.size")
        try:
            # Of an empty tree nothing is proven, by no hashes.
            check_subtree(0, size, checkpoint.size, root, checkpoint.root, asked.hashes)
        except PeerFault as fault:
            return Answer(HTTPStatus.UNPROCESSABLE_ENTITY, f"{fault}\n")
        return None

    def _last(self, origin: str) -> tuple[int, bytes]:
        path = self._path(origin)
        if not path.exists():
            return 0, EMPTY_ROOT
        size, _, root = path.read_text().strip().partition(" ")
        try:
            found = int(size), bytes.fromhex(root)
        except ValueError:
            found = 0, b""
        if len(found[1]) != HASH_BYTES:
            raise StoreDamaged(f"{path} does not say what was cosigned last")
        return found

    def _store(self, checkpoint: Checkpoint) -> None:
        _write(self._path(checkpoint.origin), f"{checkpoint.size} {checkpoint.root.hex()}\n")

    def _path(self, origin: str) -> Path:
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()}.cosigned"


def _open_key(folder: Path, name: str | None) -> tuple[Signer, ...]:
    path = folder / KEY
    if not path.exists():
        if name is None or not is_key_name(name) or len(name.encode()) > ORIGIN_BYTES:
            advice = "give it one like a URL without its scheme: witness.example.org/varde"
            raise VardeError("a new witness needs a name", code="no-name", advice=advice)
        seeds = (base64.b64encode(os.urandom(SEED_BYTES)).decode() for _ in range(2))
        _write(path, "\n".join([name, *seeds, ""]))
    try:
        name, ed25519, ml_dsa = path.read_text().splitlines()
        seeds_read = base64.b64decode(ed25519, validate=True), base64.b64decode(ml_dsa, validate=True)
        cosignature = Ed25519Signer(name, seeds_read[0], SignatureType.COSIGNATURE_ED25519)
        return cosignature, MlDsaSigner(name, seeds_read[1])
    except ValueError:
        raise StoreDamaged(f"{path} is no key of a witness") from None


def _write(path: Path, text: str) -> None:
    """Replace a file; the new one is on the disk when this returns, and no moment shows half of it."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    Path(draft).replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
