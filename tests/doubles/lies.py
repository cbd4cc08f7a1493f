"""Every lie of the dishonest server, in one table, with all that honest clients say of it."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

from tests.doubles import lies_of_delivery as delivery
from tests.doubles import lies_of_directory as directory
from tests.doubles import lies_of_membership as membership
from tests.doubles.dishonest_server import DishonestServer
from varde.errors import ListRollback, LogForked, UnprovenList, UntrustedDevice
from varde.events import (
    Break,
    ForkedLog,
    Gap,
    HistoryLost,
    Reason,
    Withheld,
)
from varde_contract.talk import ConversationKind

DM, GROUP = ConversationKind.DM, ConversationKind.GROUP
A = TypeVar("A")


class Lie(NamedTuple):
    """What a server does in which kind of conversation, and everything that honest clients say of it."""

    kind: ConversationKind
    tell: Callable[[DishonestServer], Awaitable[None]]
    noticed: frozenset[object]


def lie(kind: ConversationKind, tell: Callable[[DishonestServer], Awaitable[None]], *noticed: object) -> Lie:
    """A row."""
    return Lie(kind, tell, frozenset(noticed))


LIES: Final[dict[str, Lie]] = {
    "ghost device, same version": lie(GROUP, directory.ghost_under_same_version, UntrustedDevice),
    "ghost device, moved version": lie(GROUP, directory.ghost_under_new_version, UntrustedDevice),
    "ghost member": lie(GROUP, directory.ghost_member, UntrustedDevice),
    "kind": lie(DM, directory.dm_becomes_group, UntrustedDevice),
    "device of another profile": lie(GROUP, directory.other_profile_of_device, UntrustedDevice),
    "device withheld": lie(GROUP, directory.withheld_device, Withheld),
    "fork, two histories": lie(GROUP, delivery.two_histories, Break.DROPPED),
    "fork, two orders": lie(GROUP, delivery.two_orders, Break.DROPPED, Break.REORDERED),
    "reorder": lie(DM, delivery.reordered, Break.DROPPED, Break.REORDERED),
    "drop": lie(DM, delivery.dropped, Break.DROPPED),
    "not for you": lie(GROUP, delivery.not_for_you, Break.DROPPED),
    "not for you, ever": lie(GROUP, delivery.not_for_you_by_all, Break.DROPPED),
    "tail withheld": lie(DM, delivery.withheld_tail),
    "replay": lie(DM, delivery.replayed),
    "replay under another number": lie(DM, delivery.replayed_as_another_number, Reason.TAMPERED),
    "made-up ack": lie(DM, delivery.made_up_ack),
    "made-up gap": lie(DM, delivery.made_up_gap, Gap),
    "made-up epoch": lie(DM, delivery.made_up_epoch, HistoryLost, Break.RESTORED, Reason.TAMPERED),
    "older epoch": lie(DM, delivery.older_epoch, HistoryLost, Break.RESTORED, Reason.TAMPERED),
    "made-up own number": lie(DM, delivery.made_up_own_number, Break.RESTORED),
    "swapped prekey": lie(DM, delivery.swapped_prekey, UntrustedDevice),
    "non-canonical prekey": lie(DM, delivery.non_canonical_prekey, UntrustedDevice),
    "group key in a dm": lie(DM, delivery.group_key_in_dm, Reason.MISATTRIBUTED),
    "list rolled back": lie(GROUP, directory.list_rolled_back, ListRollback),
    "list of another account": lie(GROUP, directory.list_of_somebody_else, UntrustedDevice),
    "list unsigned": lie(GROUP, directory.list_unsigned, UntrustedDevice),
    "list of a removed manager": lie(GROUP, directory.list_of_removed_manager, UntrustedDevice),
    "list kept from one": lie(GROUP, directory.list_kept_from_one, Break.OLD_LISTS),
    "list kept for a day": lie(GROUP, directory.list_kept_for_a_day, ListRollback),
    "list for one alone": lie(GROUP, directory.list_for_one, Break.OTHER_LISTS),
    "wrong inclusion proof": lie(GROUP, directory.wrong_inclusion_proof, UnprovenList),
    "forked log": lie(GROUP, directory.forked_log, LogForked, ForkedLog),
    "stale checkpoint": lie(GROUP, directory.stale_checkpoint, UnprovenList),
    "cosignatures withheld": lie(GROUP, directory.cosignatures_withheld, UnprovenList),
    "log for one alone": lie(GROUP, directory.log_for_one, LogForked, ForkedLog),
    "forged statement": lie(GROUP, membership.forged_statement, UntrustedDevice),
    "forged statement as message": lie(GROUP, membership.forged_statement_in_log, Reason.FORGED_STATEMENT),
    "statement withheld": lie(GROUP, membership.statement_left_out, UntrustedDevice),
    "statements reordered": lie(GROUP, membership.statements_reordered, UntrustedDevice),
    "membership rolled back": lie(GROUP, membership.membership_rolled_back, UntrustedDevice),
    "newest statement withheld": lie(GROUP, membership.removal_withheld, Break.DROPPED),
    "stale snapshot": lie(GROUP, membership.stale_snapshot, UntrustedDevice),
}
"""By the name that the row has in docs/threat-model.md."""
