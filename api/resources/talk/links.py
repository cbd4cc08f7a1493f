"""Invite links to people; and the page that a browser shows who opens any link."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Final
from uuid import UUID

from quart import Blueprint
from quart_schema import hide
from quart_trio.wrappers import TrioResponse

from api.http.replies import Answer, instant, milliseconds
from api.operation import signed_in, signed_in_with_body
from api.services import Services
from domain.budgets import Budget
from domain.people.model import Actor
from domain.talk.model import Link
from varde_contract import links as contract
from varde_contract.ids import LinkId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.talk import Links, LinkUse, LinkView, NewLink

links = Blueprint("links", __name__, url_prefix="/v1/links")
page = Blueprint("page", __name__)

_PAGE: Final = Path(__file__).parents[2] / "templates" / "invitation.html"


@links.get("")
@signed_in(answers={200: Links})
async def list_links(services: Services, actor: Actor) -> Answer:
    """List the account's invite links that somebody can still use."""
    return Links(tuple(map(_view, await services.links.list_all(actor))))


@links.put("/<uuid:link>")
@signed_in_with_body(
    NewLink,
    answers={200: LinkView},
    refuses=(RefusalCode.NOT_FOUND, RefusalCode.NOT_ALLOWED, RefusalCode.TOO_MANY),
)
async def put_link(services: Services, actor: Actor, new: NewLink, link: UUID) -> Answer:
    """Make an invite link to a profile of the account, under an id of the client's choice.

    The same id again changes nothing and shows the link that is there.
    """
    ends = milliseconds(new.expires_at)
    made = await services.links.put(actor, LinkId(link), new.profile, digest=new.digest, uses=new.uses, expires_ms=ends)
    return made if isinstance(made, Refused) else _view(made)


@links.delete("/<uuid:link>")
@signed_in(answers={204: None}, refuses=(RefusalCode.NOT_FOUND,))
async def revoke_link(services: Services, actor: Actor, link: UUID) -> Answer:
    """Let nobody ask by a link any more."""
    await services.links.revoke(actor, LinkId(link))
    return None


@links.post("/use")
@signed_in_with_body(
    LinkUse,
    answers={204: None},
    refuses=(RefusalCode.NOT_FOUND,),
    limits_look_ups=True,
    spends=(Budget.LOOK_UPS,),
)
async def use_link(services: Services, actor: Actor, shown: LinkUse) -> Answer:
    """Show a link, and be allowed to ask its profile into a conversation until the link ends.

    Whoever the profile may be found by. A link that is unknown, used up, expired or revoked is answered in one way. An
    account uses a link up once, however often it asks.
    """
    return await services.links.use(actor, shown.account, shown.profile, shown.token)


def _view(link: Link) -> LinkView:
    return LinkView(link.id, link.profile, link.uses, instant(link.expires_ms), instant(link.made_ms))


@page.get(contract.PATH)
@hide
async def show_invitation() -> TrioResponse:
    """Show what to do with a link. What is behind its `#` was not sent, and no script here could read it."""
    content, policy = _render()
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "public, max-age=300",
        "Content-Security-Policy": policy,
    }
    return TrioResponse(content, headers=headers)


@cache
def _render() -> tuple[bytes, str]:
    text = _PAGE.read_text(encoding="utf-8")
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    nothing = ("default-src", "base-uri", "form-action", "frame-ancestors")
    return text.encode(), "; ".join([*(f"{what} 'none'" for what in nothing), f"style-src 'sha256-{digest}'"])
