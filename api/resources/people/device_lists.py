"""Device lists: the account's own, and those of accounts that one may write to."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct
from quart import Blueprint

from api.http.replies import Answer, created
from api.operation import signed_in_with_body, signed_in_with_query
from api.services import Services
from domain.budgets import Budget
from domain.people.model import Actor, StoredList
from varde_contract.ids import AccountId, ProfileId
from varde_contract.limits import SEQ_MAX
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.people import DeviceLists, DeviceListView, LostDeviceLists, NewDeviceList

own = Blueprint("device-list", __name__, url_prefix="/v1/device-list")
accounts = Blueprint("accounts", __name__, url_prefix="/v1/accounts")

From = Annotated[int, Meta(ge=1, le=SEQ_MAX, description="The number of the first list to show.")]


class OwnQuery(Struct, frozen=True, forbid_unknown_fields=True, rename={"from_number": "from"}):
    """From which list on."""

    from_number: From = 1


class AccountQuery(Struct, frozen=True, forbid_unknown_fields=True, rename={"from_number": "from"}):
    """From which list on, and how the account is known."""

    from_number: From = 1
    profile: Annotated[
        ProfileId | None, Meta(description="A profile of the account, where no conversation is shared with it.")
    ] = None


@own.put("")
@signed_in_with_body(
    NewDeviceList,
    spends=(Budget.ROSTER_MOVES,),
    answers={201: DeviceListView, 200: DeviceListView},
    refuses=(
        RefusalCode.BAD_DEVICE_LIST,
        RefusalCode.STALE_DEVICE_LIST,
        RefusalCode.PROFILE_NOT_ALLOWED,
        RefusalCode.DEVICE_EXISTS,
    ),
)
async def put_device_list(services: Services, actor: Actor, new: NewDeviceList) -> Answer:
    """Make a signed list the account's newest.

    Devices that are new in it are registered, those that are missing are revoked for ever: their connections are cut
    within a second, and their tickets, sessions, prekeys and waiting messages go. A device whose profiles changed needs
    a new ticket. The same list again, or one that says nothing new, is answered with 200 and the newest one.
    """
    accepted = await services.device_lists.put(actor, new.list)
    return accepted if isinstance(accepted, Refused) else created(_view(accepted.stored), fresh=accepted.made)


@own.get("")
@signed_in_with_query(OwnQuery, answers={200: DeviceLists})
async def show_device_lists(services: Services, actor: Actor, query: OwnQuery) -> Answer:
    """Show the account's own device lists."""
    return DeviceLists(tuple(map(_view, await services.device_lists.own(actor, query.from_number))))


@accounts.get("/<uuid:account>/device-lists")
@signed_in_with_query(AccountQuery, answers={200: DeviceLists}, refuses=(RefusalCode.NOT_FOUND,))
async def show_account_lists(services: Services, actor: Actor, query: AccountQuery, account: UUID) -> Answer:
    """Show an account's device lists.

    They are shown to who shares a conversation with it, can have a message of it, or names a profile of it that
    it may find.
    """
    profile = query.profile
    if profile is not None and not await services.consent.may_find(actor, profile):
        profile = None  # as if it had not been named
    found = await services.device_lists.of_account(actor, AccountId(account), query.from_number, profile)
    return found if isinstance(found, Refused) else DeviceLists(tuple(map(_view, found)))


@accounts.put("/<uuid:account>/device-lists")
@signed_in_with_body(
    LostDeviceLists,
    spends=(Budget.INVITATIONS,),
    answers={200: DeviceListView},
    refuses=(
        RefusalCode.NOT_FOUND,  # an account that is no id
        RefusalCode.NOT_ALLOWED,
        RefusalCode.BAD_DEVICE_LIST,
        RefusalCode.STALE_DEVICE_LIST,
        RefusalCode.PROFILE_NOT_ALLOWED,
        RefusalCode.DEVICE_EXISTS,
    ),
)
async def put_back_device_lists(services: Services, _: Actor, lost: LostDeviceLists, account: UUID) -> Answer:
    """Put back device lists that the server lost when its database came back from a backup.

    Anybody may who holds them, for 30 days (`not-allowed` without a loss, and later): they are signed. Those that are
    there already are passed over. The answer is the newest list that is there then.
    """
    since = services.lost_statements.since()
    if isinstance(since, Refused):
        return since
    newest = await services.device_lists.put_back(AccountId(account), lost.lists, lost.openings, since)
    return newest if isinstance(newest, Refused) else _view(newest)


def _view(stored: StoredList) -> DeviceListView:
    return DeviceListView(stored.number, stored.signed)
