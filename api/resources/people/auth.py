"""Sign-in and sessions: codes, tokens, the list of sessions."""

from typing import Final
from uuid import UUID

from quart import Blueprint

from api.instants import instant
from api.operation import operation
from api.replies import Answer, Reply, created
from api.world import World
from domain.people.auth import CODE_TIME, SECOND
from domain.people.model import Actor, Session
from domain.people.sessions import Granted
from varde_contract.ids import SessionId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.auth import CodeRequest, CodeSent, Refresh, Sessions, SessionTokens, SessionView, SignIn

ACCEPTED: Final = 202

blueprint = Blueprint("auth", __name__, url_prefix="/v1/auth")


@blueprint.post("/codes")
@operation(
    body=CodeRequest,
    answers={ACCEPTED: CodeSent},
    refuses=(RefusalCode.RATE_LIMITED,),
    open_to_all=True,
    rationed=True,
)
async def send_code(world: World, wanted: CodeRequest) -> Answer:
    """Mail a one-time code.

    The answer is the same whether or not the address has an account. A new code replaces the one before.
    """
    refused = await world.sign_in.send_code(wanted.email)
    return refused or Reply(ACCEPTED, CodeSent(expires_in_s=CODE_TIME // SECOND))


@blueprint.post("/session")
@operation(
    body=SignIn,
    answers={201: SessionTokens},
    refuses=(RefusalCode.CODE_WRONG, RefusalCode.CODE_EXPIRED, RefusalCode.CODE_EXHAUSTED),
    open_to_all=True,
    rationed=True,
)
async def sign_in(world: World, offered: SignIn) -> Answer:
    """Trade a code for a session.

    The first sign-in of an address makes its account. A code can be tried five times.
    """
    signed_in = await world.sign_in.redeem(offered.email, offered.code)
    if isinstance(signed_in, Refused):
        return signed_in
    return created(_tokens(signed_in.granted, new_account=signed_in.new_account))


@blueprint.post("/session/refresh")
@operation(
    body=Refresh,
    answers={200: SessionTokens},
    refuses=(RefusalCode.UNAUTHENTICATED, RefusalCode.TOKEN_EXPIRED),
    open_to_all=True,
)
async def refresh_session(world: World, shown: Refresh) -> Answer:
    """Trade a refresh token for new tokens.

    Each refresh token works once. Shown a second time, somebody has a copy of it, and the session ends.
    """
    granted = await world.sessions.refresh(shown.refresh_token)
    return granted if isinstance(granted, Refused) else _tokens(granted)


@blueprint.delete("/session")
@operation(answers={204: None}, refuses=(RefusalCode.NOT_FOUND,))
async def log_out(world: World, actor: Actor) -> Answer:
    """End this session."""
    return await world.sessions.end(actor, actor.session)


@blueprint.get("/sessions")
@operation(answers={200: Sessions})
async def list_sessions(world: World, actor: Actor) -> Answer:
    """List the live sessions of the account, oldest first."""
    return Sessions(tuple(_view(session, actor) for session in await world.sessions.list_live(actor)))


@blueprint.delete("/sessions/<uuid:session>")
@operation(answers={204: None}, refuses=(RefusalCode.NOT_FOUND,))
async def end_session(world: World, actor: Actor, session: UUID) -> Answer:
    """End a session of the account.

    Its device stays registered. A device that is lost has to be revoked, which ends its sessions as well.
    """
    return await world.sessions.end(actor, SessionId(session))


def _tokens(granted: Granted, *, new_account: bool = False) -> SessionTokens:
    session = granted.session
    return SessionTokens(
        account=session.account,
        session=session.id,
        access_token=granted.access.spell(),
        access_expires_at=instant(session.access_expires_ms),
        refresh_token=granted.refresh.spell(),
        refresh_expires_at=instant(session.refresh_expires_ms),
        new_account=new_account,
    )


def _view(session: Session, actor: Actor) -> SessionView:
    return SessionView(
        session=session.id,
        device=session.device,
        created_at=instant(session.created_ms),
        refreshed_at=instant(session.refreshed_ms),
        current=session.id == actor.session,
    )
