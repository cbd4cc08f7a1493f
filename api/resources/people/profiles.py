"""The profiles of the account."""

from uuid import UUID

from quart import Blueprint

from api.instants import instant
from api.operation import operation
from api.replies import Answer, created
from api.world import World
from domain.people.model import Actor, Profile
from varde_contract.ids import ProfileId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.profiles import NewProfile, Profiles, ProfileUpdate, ProfileView

blueprint = Blueprint("profiles", __name__, url_prefix="/v1/profiles")


@blueprint.get("")
@operation(answers={200: Profiles})
async def list_profiles(world: World, actor: Actor) -> Answer:
    """List the account's profiles, oldest first."""
    return Profiles(tuple(_view(profile) for profile in await world.profiles.list_all(actor)))


@blueprint.post("")
@operation(body=NewProfile, answers={201: ProfileView}, refuses=(RefusalCode.TOO_MANY,))
async def create_profile(world: World, actor: Actor, new: NewProfile) -> Answer:
    """Make a profile.

    Its id is the address that others write to.
    """
    made = await world.profiles.create(actor, new.type, new.theme, new.policies)
    return made if isinstance(made, Refused) else created(_view(made))


@blueprint.get("/<uuid:profile>")
@operation(answers={200: ProfileView}, refuses=(RefusalCode.NOT_FOUND,))
async def show_profile(world: World, actor: Actor, profile: UUID) -> Answer:
    """Show one of the account's profiles."""
    found = await world.profiles.find(actor, ProfileId(profile))
    return found if isinstance(found, Refused) else _view(found)


@blueprint.put("/<uuid:profile>")
@operation(body=ProfileUpdate, answers={200: ProfileView}, refuses=(RefusalCode.NOT_FOUND,))
async def replace_profile(world: World, actor: Actor, update: ProfileUpdate, profile: UUID) -> Answer:
    """Replace a profile's theme and policies."""
    replaced = await world.profiles.replace(actor, ProfileId(profile), update.theme, update.policies)
    return replaced if isinstance(replaced, Refused) else _view(replaced)


def _view(profile: Profile) -> ProfileView:
    return ProfileView(
        profile=profile.id,
        type=profile.type,
        theme=profile.theme,
        policies=profile.policies,
        created_at=instant(profile.created_ms),
    )
