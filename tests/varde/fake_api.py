"""An API in memory, as far as enrolment needs one: it records every call, and can lose answers.

What a server must refuse is tested with the server; this one refuses what a client must be able to live with.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import httpx
import msgspec
from msgspec import Struct

from varde.clock import fresh_id
from varde.crypto.certificates import check_signature
from varde_contract.ids import AccountId, DeviceId, ProfileId, SessionId, decode_text_id
from varde_contract.refusals import RefusalCode
from varde_contract.rest.people import (
    AccountView,
    Certificate,
    CodeRequest,
    CodeSent,
    DeviceProof,
    Devices,
    DeviceView,
    NewDevice,
    NewProfile,
    PrekeyCount,
    PrekeyUpload,
    Profiles,
    ProfileView,
    Refresh,
    RootKey,
    SessionTokens,
    SignIn,
)
from varde_contract.rest.problems import PROBLEM_MEDIA_TYPE, Problem
from varde_contract.signed_statements import session_statement

URL = "http://127.0.0.1:8400"
CODE = "123456"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Call(NamedTuple):
    """One request."""

    method: str
    path: str
    authorization: str | None


class No(Exception):
    """A refusal on its way out."""

    def __init__(self, status: int, code: RefusalCode, retry_after_ms: int | None = None) -> None:
        super().__init__(code)
        self.response = httpx.Response(
            status,
            headers={"content-type": PROBLEM_MEDIA_TYPE},
            content=msgspec.json.encode(Problem("about:blank", "no", status, code, "Do as told.", retry_after_ms)),
        )


class FakeApi:
    """One account's worth of server. `lose` is asked after each call was carried out: the answer never comes."""

    def __init__(self) -> None:
        self.account = AccountId(fresh_id())
        self.root_key: bytes | None = None
        self.profiles: list[ProfileView] = []
        self.devices: list[tuple[SessionId, DeviceView]] = []
        self.uploads: defaultdict[SessionId, list[PrekeyUpload]] = defaultdict(list)
        self.sessions: dict[str, SessionTokens] = {}
        self.code: str | None = CODE
        self.calls: list[Call] = []
        self.drop: Callable[[Call], bool] = lambda _: False
        self.lifetime = timedelta(hours=1)
        self.transport = httpx.MockTransport(self._handle)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        call = Call(request.method, request.url.path, request.headers.get("authorization"))
        self.calls.append(call)
        try:
            answer = self._answer(call, request.content)
            response = httpx.Response(200 if answer else 204, content=msgspec.json.encode(answer) if answer else b"")
        except No as no:
            response = no.response
        if self.drop(call):
            raise httpx.ReadTimeout("lost", request=request)
        return response

    def _answer(self, call: Call, body: bytes) -> Struct | None:
        match call.method, call.path:
            case "POST", "/v1/auth/codes":
                msgspec.json.decode(body, type=CodeRequest)
                return CodeSent(600)
            case "POST", "/v1/auth/session":
                return self._sign_in(msgspec.json.decode(body, type=SignIn))
            case "POST", "/v1/auth/session/refresh":
                return self._refresh(msgspec.json.decode(body, type=Refresh))
        return self._answer_signed_in(call, body, self._session(call))

    def _answer_signed_in(self, call: Call, body: bytes, session: SessionTokens) -> Struct | None:
        match call.method, call.path:
            case "GET", "/v1/account":
                return AccountView(self.account, LONG_AGO, self.root_key)
            case "PUT", "/v1/account/root-key":
                return self._set_root_key(msgspec.json.decode(body, type=RootKey).root_key)
            case "GET", "/v1/profiles":
                return Profiles(tuple(self.profiles))
            case "POST", "/v1/profiles":
                new = msgspec.json.decode(body, type=NewProfile)
                self.profiles.append(ProfileView(ProfileId(fresh_id()), new.type, new.theme, new.policies, LONG_AGO))
                return self.profiles[-1]
            case "DELETE", "/v1/auth/session":
                self.end(session.session)
                return None
        return self._answer_device(call, body, session)

    def _answer_device(self, call: Call, body: bytes, session: SessionTokens) -> Struct | None:
        match call.method, call.path:
            case "GET", "/v1/devices":
                return Devices(
                    tuple(msgspec.structs.replace(view, current=at == session.session) for at, view in self.devices)
                )
            case "POST", "/v1/devices":
                return self._register(msgspec.json.decode(body, type=NewDevice, dec_hook=decode_text_id), session)
            case "PUT", path if path.endswith("/session"):
                return self._adopt(path.split("/")[3], msgspec.json.decode(body, type=DeviceProof), session)
            case "GET", "/v1/prekeys":
                return self.count(session.session)
            case "POST", "/v1/prekeys":
                self.uploads[session.session].append(
                    msgspec.json.decode(body, type=PrekeyUpload, dec_hook=decode_text_id)
                )
                return self.count(session.session)
        raise No(404, RefusalCode.NOT_FOUND)

    def _sign_in(self, offered: SignIn) -> SessionTokens:
        if offered.code != self.code:
            raise No(403, RefusalCode.CODE_WRONG)
        self.code = None
        return self._grant(SessionId(fresh_id()))

    def _grant(self, session: SessionId) -> SessionTokens:
        now = datetime.now(UTC)
        tokens = SessionTokens(
            self.account, session, token(), now + self.lifetime, token(), now + timedelta(days=90), new_account=True
        )
        self.sessions = {key: old for key, old in self.sessions.items() if old.session != session}
        self.sessions[tokens.access_token] = tokens
        return tokens

    def _refresh(self, shown: Refresh) -> SessionTokens:
        for tokens in self.sessions.values():
            if tokens.refresh_token == shown.refresh_token:
                return self._grant(tokens.session)
        self.sessions.clear()
        raise No(401, RefusalCode.UNAUTHENTICATED)

    def _session(self, call: Call) -> SessionTokens:
        tokens = self.sessions.get((call.authorization or "").removeprefix("Bearer "))
        if tokens is None:
            raise No(401, RefusalCode.UNAUTHENTICATED)
        if tokens.access_expires_at <= datetime.now(UTC):
            raise No(401, RefusalCode.TOKEN_EXPIRED)
        return tokens

    def _set_root_key(self, root_key: bytes) -> AccountView:
        if self.root_key not in (None, root_key):
            raise No(409, RefusalCode.ROOT_KEY_SET)
        self.root_key = root_key
        return AccountView(self.account, LONG_AGO, self.root_key)

    def _register(self, new: NewDevice, session: SessionTokens) -> DeviceView:
        certificate = Certificate(
            self.account, new.device, new.noise_key, new.signing_key, new.identity_key, new.signature
        )
        if any(view.certificate.device == new.device for _, view in self.devices):
            raise No(409, RefusalCode.DEVICE_EXISTS)
        self.devices.append((session.session, DeviceView(certificate, new.profiles, LONG_AGO, current=True)))
        return self.devices[-1][1]

    def _adopt(self, wanted: str, proof: DeviceProof, session: SessionTokens) -> DeviceView:
        for place, (bound, view) in enumerate(self.devices):
            device = view.certificate.device
            if str(device) == wanted:
                check_signature(
                    view.certificate.signing_key, session_statement(session.session, device), proof.signature
                )
                self.devices[place] = session.session, view
                if bound != session.session:
                    self.uploads[session.session] = self.uploads.pop(bound, [])
                    self.end(bound)
                return view
        raise No(404, RefusalCode.NOT_FOUND)

    def end(self, session: SessionId) -> None:
        """End a session. Its device stays."""
        self.sessions = {key: tokens for key, tokens in self.sessions.items() if tokens.session != session}

    def count(self, session: SessionId) -> PrekeyCount:
        """The prekeys of a session's device."""
        uploads = self.uploads[session]
        one_time = {key.key for upload in uploads for key in upload.one_time_keys}
        return PrekeyCount(len(one_time), any(upload.fallback_key for upload in uploads))


def token() -> str:
    """Something that looks like a token."""
    return secrets.token_urlsafe(64)


def device_of(api: FakeApi) -> DeviceId:
    """The one device that was registered."""
    ((_, view),) = api.devices
    return view.certificate.device
