"""The account and its root key."""

from quart import Blueprint

from api.instants import instant
from api.operation import operation
from api.replies import Answer
from api.world import World
from domain.people.model import Account, Actor
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.accounts import AccountView, RootKey

blueprint = Blueprint("account", __name__, url_prefix="/v1/account")


@blueprint.get("")
@operation(answers={200: AccountView})
async def show_account(world: World, actor: Actor) -> Answer:
    """Show the account."""
    return _answer(await world.accounts.find(actor))


@blueprint.put("/root-key")
@operation(body=RootKey, answers={200: AccountView}, refuses=(RefusalCode.BAD_KEY, RefusalCode.ROOT_KEY_SET))
async def set_root_key(world: World, actor: Actor, wanted: RootKey) -> Answer:
    """Set the account's root key, once.

    Sending the same key again changes nothing; another one is refused.
    """
    return _answer(await world.accounts.set_root_key(actor, wanted.root_key))


def _answer(account: Account | Refused) -> Answer:
    if isinstance(account, Refused):
        return account
    return AccountView(account=account.id, created_at=instant(account.created_ms), root_key=account.root_key)
