"""The rules of membership in a group: plain functions over a roster, without a store or a clock."""

from typing import Final

from domain.talk.model import Roster
from varde_contract.ids import DeviceId, ProfileId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.talk import ConversationKind, Role

_WRONG_KIND: Final = Refused(RefusalCode.WRONG_KIND, "Only a group changes its members. Open a group instead.")
_NOT_HELD: Final = Refused(
    RefusalCode.PROFILE_NOT_ALLOWED, "The device does not receive for that profile in this conversation."
)
_WHICH: Final = Refused(RefusalCode.MALFORMED, "Several profiles of the device are members. Say as_profile.")
_NOT_ALLOWED: Final = Refused(RefusalCode.NOT_ALLOWED, "The member's role does not allow this. Ask an owner.")
_ALREADY: Final = Refused(RefusalCode.ALREADY_MEMBER, "The profile is a member already.")
_NO_MEMBER: Final = Refused(RefusalCode.NOT_FOUND, "The conversation has no such member.")
_LAST_OWNER: Final = Refused(
    RefusalCode.LAST_OWNER, "Somebody has to own the group. Make another member an owner first."
)


def refuse_add(
    roster: Roster, device: DeviceId, *, as_profile: ProfileId, profile: ProfileId, role: Role
) -> Refused | None:
    """Owners add with any role, admins add members. None when it is allowed."""
    refused = _refuse_acting(roster, device, as_profile)
    if refused is not None:
        return refused
    match roster.members[as_profile].role:
        case Role.OWNER:
            allowed = True
        case Role.ADMIN:  # who could make owners would be one
            allowed = role is Role.MEMBER
        case Role.MEMBER:
            allowed = False
    if not allowed:
        return _NOT_ALLOWED
    return _ALREADY if profile in roster.members else None


def refuse_role(
    roster: Roster, device: DeviceId, *, as_profile: ProfileId, profile: ProfileId, role: Role
) -> Refused | None:
    """Owners change roles, their own too, as long as an owner is left. None when it is allowed."""
    refused = _refuse_acting(roster, device, as_profile)
    if refused is not None:
        return refused
    if roster.members[as_profile].role is not Role.OWNER:
        return _NOT_ALLOWED
    if profile not in roster.members:
        return _NO_MEMBER
    # A group without an owner could never change its members again.
    return _LAST_OWNER if role is not Role.OWNER and _owners(roster) == {profile} else None


def refuse_removal(
    roster: Roster, device: DeviceId, *, as_profile: ProfileId | None, profile: ProfileId
) -> Refused | None:
    """Everybody may leave, but the last owner only when alone; owners remove anybody, admins remove members.

    Without `as_profile` the device acts as the leaving profile, or as the only member it receives for.
    """
    if roster.kind is not ConversationKind.GROUP:
        return _WRONG_KIND
    acting = as_profile or _acting(roster, device, profile)
    if acting is None:
        return _WHICH
    refused = _refuse_acting(roster, device, acting)
    if refused is not None:
        return refused
    return _refuse_leaving(roster, profile) if acting == profile else _refuse_expelling(roster, acting, profile)


def _refuse_acting(roster: Roster, device: DeviceId, as_profile: ProfileId) -> Refused | None:
    if roster.kind is not ConversationKind.GROUP:
        return _WRONG_KIND
    return None if as_profile in roster.devices[device] else _NOT_HELD


def _acting(roster: Roster, device: DeviceId, profile: ProfileId) -> ProfileId | None:
    own = roster.devices[device]
    # To leave is always to act as the one who leaves, whatever other members the device receives for.
    if profile in own:
        return profile
    return next(iter(own)) if len(own) == 1 else None


def _refuse_leaving(roster: Roster, profile: ProfileId) -> Refused | None:
    return _LAST_OWNER if _owners(roster) == {profile} and len(roster.members) > 1 else None


def _refuse_expelling(roster: Roster, acting: ProfileId, profile: ProfileId) -> Refused | None:
    target = roster.members.get(profile)
    match roster.members[acting].role:
        case Role.OWNER:
            allowed = True
        case Role.ADMIN:
            allowed = target is None or target.role is Role.MEMBER
        case Role.MEMBER:
            allowed = False
    if not allowed:
        return _NOT_ALLOWED
    return _NO_MEMBER if target is None else None


def _owners(roster: Roster) -> set[ProfileId]:
    return {member.profile for member in roster.members.values() if member.role is Role.OWNER}
