"""Sign-in and sessions: codes, tokens, the list of sessions."""

from typing import Final
from uuid import UUID

from quart import Blueprint

from api.http.replies import Answer, Reply, created, instant
from api.operation import public_with_body, signed_in
from api.services import Services
from domain.people.model import Actor, Session
from domain.people.sessions import Granted
from domain.people.sign_in import CODE_TIME, SECOND
from varde_contract.ids import SessionId
from varde_contract.refusals import RefusalCode, Refused
from varde_contract.rest.people import CodeRequest, CodeSent, Refresh, Sessions, SessionTokens, SessionView, SignIn

ACCEPTED: Final = 202

blueprint = Blueprint("auth", __name__, url_prefix="/v1/auth")


@blueprint.post("/codes")
@public_with_body(CodeRequest, answers={ACCEPTED: CodeSent}, refuses=(RefusalCode.RATE_LIMITED,), limits_sign_in=True)
async def send_code(services: Services, wanted: CodeRequest) -> Answer:
    """Mail a one-time code.

    The answer is the same whether or not the address has an account. A new code replaces the one before.
    """
    refused = await services.sign_in.send_code(wanted.email)
    return refused or Reply(ACCEPTED, CodeSent(expires_in_s=CODE_TIME // SECOND))


@blueprint.post("/session")
@public_with_body(
    SignIn,
    answers={201: SessionTokens},
    refuses=(RefusalCode.CODE_WRONG, RefusalCode.CODE_EXPIRED, RefusalCode.CODE_EXHAUSTED, RefusalCode.NOT_ALLOWED),
    limits_sign_in=True,
)
async def sign_in(services: Services, offered: SignIn) -> Answer:
    """Trade a code for a session.

    The first sign-in of an address makes its account. A code can be tried five times. An account that an operator has
    suspended is not let in.
    """
    signed_in = await services.sign_in.redeem(offered.email, offered.code)
    if isinstance(signed_in, Refused):
        return signed_in
    return created(_tokens(signed_in.granted, new_account=signed_in.new_account))


@blueprint.post("/session/refresh")
@public_with_body(
    Refresh, answers={200: SessionTokens}, refuses=(RefusalCode.UNAUTHENTICATED, RefusalCode.TOKEN_EXPIRED)
)
async def refresh_session(services: Services, shown: Refresh) -> Answer:
    """Trade a refresh token for new tokens.

    Each refresh token works once, and again within a minute if the answer was lost. Shown later, somebody has a copy of
    it, and the session ends.
    """
    granted = await services.sessions.refresh(shown.refresh_token)
    return granted if isinstance(granted, Refused) else _tokens(granted)


@blueprint.delete("/session")
@signed_in(answers={204: None}, refuses=(RefusalCode.NOT_FOUND,))
async def log_out(services: Services, actor: Actor) -> Answer:
    """End this session."""
    return await services.sessions.end(actor, actor.session)


@blueprint.get("/sessions")
@signed_in(answers={200: Sessions})
async def list_sessions(services: Services, actor: Actor) -> Answer:
    """List the live sessions of the account, oldest first."""
    return Sessions(tuple(_view(session, actor) for session in await services.sessions.list_live(actor)))


@blueprint.delete("/sessions/<uuid:session>")
@signed_in(answers={204: None}, refuses=(RefusalCode.NOT_FOUND,))
async def end_session(services: Services, actor: Actor, session: UUID) -> Answer:
    """End a session of the account.

    Its device stays registered. A device that is lost has to be revoked, which ends its sessions as well.
    """
    return await services.sessions.end(actor, SessionId(session))


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
