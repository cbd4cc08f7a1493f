"""What a message is bound to besides its sender: the kind of conversation, its members, everybody's device lists."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from varde_contract.envelope import DIGEST_BYTES, ChainHead, SeenCheckpoint
from varde_contract.rest.talk import ConversationView, ListHead
from varde_contract.talk import ConversationKind

_NOTHING = bytes(DIGEST_BYTES)


class Binding(NamedTuple):
    """The fields of an envelope that say for whom it was encrypted."""

    kind: ConversationKind
    chain: ChainHead
    lists: bytes
    checkpoint: SeenCheckpoint | None


def binding_of(view: ConversationView, checkpoint: SeenCheckpoint | None) -> Binding:
    """Return what a message for this roster is bound to. `checkpoint` is the newest that this device has verified."""
    return Binding(view.kind, ChainHead(0, _NOTHING), lists_digest(view.lists), checkpoint)


def lists_digest(heads: Iterable[ListHead]) -> bytes:
    """Return the digest of which device list of each account a message was encrypted by, the sender's own included."""
    named = sorted(head.account.bytes + head.number.to_bytes(8) + head.hash for head in heads)
    return hashlib.sha256(b"".join(named)).digest()
