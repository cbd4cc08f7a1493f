"""User names: set and removed by their owner, found by who knows the whole name."""

from uuid import UUID

from quart import Blueprint

from api.http.replies import Answer
from api.operation import signed_in, signed_in_with_body
from api.services import Services
from domain.budgets import Budget
from domain.people.model import Actor
from varde_contract.ids import ProfileId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.people import FoundProfile, NewUserName, UserNameQuery

own = Blueprint("user-name", __name__, url_prefix="/v1/profiles/<uuid:profile>/user-name")
names = Blueprint("user-names", __name__, url_prefix="/v1/user-names")


@own.put("")
@signed_in_with_body(
    NewUserName,
    answers={204: None},
    refuses=(RefusalCode.NOT_ALLOWED, RefusalCode.NAME_TAKEN, RefusalCode.NOT_FOUND, RefusalCode.TOO_MANY),
    spends=(Budget.LOOK_UPS,),
)
async def set_user_name(services: Services, actor: Actor, new: NewUserName, profile: UUID) -> Answer:
    """Let a profile be found by a user name, in place of the one it has.

    Of names that look alike one is given away. A name that was given up is held for its account for 30 days.
    """
    return await services.user_names.put(actor, ProfileId(profile), new.name)


@own.delete("")
@signed_in(answers={204: None}, refuses=(RefusalCode.NOT_FOUND,))
async def remove_user_name(services: Services, actor: Actor, profile: UUID) -> Answer:
    """Let a profile be found by no user name."""
    await services.user_names.remove(actor, ProfileId(profile))
    return None


@names.post("/find")
@signed_in_with_body(
    UserNameQuery,
    answers={200: FoundProfile},
    refuses=(RefusalCode.NOT_FOUND,),
    limits_look_ups=True,
    spends=(Budget.LOOK_UPS,),
)
async def find_user_name(services: Services, actor: Actor, query: UserNameQuery) -> Answer:
    """Say whose user name it is.

    Only a whole name is found, and only where the profile's policy `found_by` lets this account find it. To all others
    there is none.
    """
    found = await services.user_names.find(actor, query.name)
    return found if isinstance(found, Refused) else FoundProfile(found)
