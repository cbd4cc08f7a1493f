"""What is different now: rosters and root keys before and after, as events."""

from collections.abc import Sequence

from varde.crypto.device_lists import Learned
from varde.events import RootKeyChange, RosterChange, at
from varde_contract.ids import AccountId
from varde_contract.rest.talk import ConversationView


def root_key_changes(account: AccountId, learned: Sequence[Learned]) -> Sequence[RootKeyChange]:
    """Return what to say of an account's root key: announced, or replaced."""
    events = []
    for before, after in learned:
        if before is not None and before.root_key != after.root_key:
            events.append(RootKeyChange(account, None))
        pending = after.pending_root
        if pending is not None and (before is None or before.pending_root != pending):
            events.append(RootKeyChange(account, at(pending.effective_ms)))
    return events


def roster_change(before: ConversationView | None, after: ConversationView) -> RosterChange | None:
    """Return who is new and who is gone, None where that is nobody or there was no roster before."""
    if before is None:
        return None
    members = {member.profile for member in before.members}, {member.profile for member in after.members}
    devices = {each.device for each in before.devices}, {each.device for each in after.devices}
    if members[0] == members[1] and devices[0] == devices[1]:
        return None
    return RosterChange(
        after.conversation,
        after.roster_version,
        joined=tuple(sorted(members[1] - members[0])),
        left=tuple(sorted(members[0] - members[1])),
        devices_added=tuple(sorted(devices[1] - devices[0])),
        devices_gone=tuple(sorted(devices[0] - devices[1])),
    )
