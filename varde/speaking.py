"""As whom this account speaks in a conversation."""

from varde.errors import NotAllowed
from varde.me import Me
from varde_contract.ids import ProfileId
from varde_contract.refusals import RefusalCode
from varde_contract.rest.conversations import ConversationView


def speaker(view: ConversationView, me: Me, as_profile: ProfileId | None = None) -> ProfileId:
    """Return the profile to speak as: the one asked for, or this account's first in the conversation.

    Raises NotAllowed.
    """
    members = {member.profile for member in view.members if member.account == me.account}
    wanted = [profile.id for profile in me.profiles if profile.id in members and as_profile in (None, profile.id)]
    if not wanted:
        raise NotAllowed(RefusalCode.PROFILE_NOT_ALLOWED, "None of this account's profiles is a member like that.")
    return wanted[0]


def default_profile(me: Me, as_profile: ProfileId | None) -> ProfileId:
    """Return the profile to open a conversation as. Raises NotAllowed."""
    wanted = [profile.id for profile in me.profiles if as_profile in (None, profile.id)]
    if not wanted:
        raise NotAllowed(RefusalCode.PROFILE_NOT_ALLOWED, "That is none of this account's profiles.")
    return wanted[0]
