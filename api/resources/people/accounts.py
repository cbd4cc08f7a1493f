"""The account and its profiles."""

from uuid import UUID

from quart import Blueprint

from api.http.replies import Answer, created, instant
from api.operation import signed_in, signed_in_with_body
from api.services import Services
from domain.people.model import Account, Actor, Profile
from domain.people.profiles import NO_PROFILE
from varde_contract.ids import ProfileId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.people import AccountView, NewProfile, ProfileOpening, Profiles, ProfileUpdate, ProfileView

account = Blueprint("account", __name__, url_prefix="/v1/account")
profiles = Blueprint("profiles", __name__, url_prefix="/v1/profiles")


@account.get("")
@signed_in(answers={200: AccountView})
async def show_account(services: Services, actor: Actor) -> Answer:
    """Show the account."""
    return _account_view(await services.accounts.find(actor))


def _account_view(found: Account | Refused) -> Answer:
    if isinstance(found, Refused):
        return found
    return AccountView(account=found.id, created_at=instant(found.created_ms), list_number=found.list_number)


@profiles.get("")
@signed_in(answers={200: Profiles})
async def list_profiles(services: Services, actor: Actor) -> Answer:
    """List the account's profiles, oldest first."""
    return Profiles(tuple(_profile_view(profile) for profile in await services.profiles.list_all(actor)))


@profiles.post("")
@signed_in_with_body(NewProfile, answers={201: ProfileView}, refuses=(RefusalCode.TOO_MANY,))
async def create_profile(services: Services, actor: Actor, new: NewProfile) -> Answer:
    """Make a profile.

    Its id is the address that others write to.
    """
    made = await services.profiles.create(actor, new.type, new.theme, new.policies, new.salt)
    return made if isinstance(made, Refused) else created(_profile_view(made))


@profiles.get("/<uuid:profile>")
@signed_in(answers={200: ProfileView}, refuses=(RefusalCode.NOT_FOUND,))
async def show_profile(services: Services, actor: Actor, profile: UUID) -> Answer:
    """Show one of the account's profiles."""
    found = await services.profiles.find(actor, ProfileId(profile))
    return found if isinstance(found, Refused) else _profile_view(found)


@profiles.get("/<uuid:profile>/opening")
@signed_in(answers={200: ProfileOpening}, refuses=(RefusalCode.NOT_FOUND,))
async def open_profile(services: Services, actor: Actor, profile: UUID) -> Answer:
    """Show whose a profile is, with the salt of its commitment in that account's device lists, before writing to it.

    Who may find it is the profile's policy `found_by`; to all others there is none. Who is in a conversation with it
    always may.
    """
    if not await services.consent.may_find(actor, ProfileId(profile)):
        return NO_PROFILE
    found = await services.profiles.opening(ProfileId(profile))
    if isinstance(found, Refused):
        return found
    return ProfileOpening(found.profile, found.account, found.salt, found.list_number)


@profiles.put("/<uuid:profile>")
@signed_in_with_body(ProfileUpdate, answers={200: ProfileView}, refuses=(RefusalCode.NOT_FOUND,))
async def replace_profile(services: Services, actor: Actor, update: ProfileUpdate, profile: UUID) -> Answer:
    """Replace a profile's theme and policies."""
    replaced = await services.profiles.replace(actor, ProfileId(profile), update.theme, update.policies)
    return replaced if isinstance(replaced, Refused) else _profile_view(replaced)


def _profile_view(profile: Profile) -> ProfileView:
    return ProfileView(
        profile=profile.id,
        type=profile.type,
        theme=profile.theme,
        policies=profile.policies,
        created_at=instant(profile.created_ms),
        salt=profile.salt,
    )
