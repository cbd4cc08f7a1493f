"""What a message is bound to besides its sender: the kind of conversation, its members, everybody's device lists."""

from typing import NamedTuple

from varde.store.store import Store
from varde_contract.envelope import ChainHead, SeenCheckpoint, lists_digest
from varde_contract.rest.talk import ConversationView
from varde_contract.talk import ConversationKind


class Binding(NamedTuple):
    """The fields of an envelope that say for whom it was encrypted."""

    kind: ConversationKind
    chain: ChainHead
    lists: bytes
    checkpoint: SeenCheckpoint | None


def binding_of(store: Store, view: ConversationView) -> Binding:
    """Return what a message for this verified roster is bound to, as this device knows it now."""
    chain = store.chains.find(view.conversation)
    assert chain is not None, "a roster is verified by its chain"
    # Those of the members that the chain proves, and no others that the server may add: readers know no others.
    members = {member.account for member in chain.state.accepted.values()}
    lists = lists_digest((head.account, head.number, head.hash) for head in view.lists if head.account in members)
    head = ChainHead(chain.state.number, chain.state.head)
    return Binding(chain.state.kind, head, lists, store.transparency.seen())
