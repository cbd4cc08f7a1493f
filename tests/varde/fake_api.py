"""An API in memory, as far as enrolment needs one: it records every call, and can lose answers.

What a server must refuse is tested with the server; this one refuses what a client must be able to live with.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import httpx
import msgspec
from msgspec import Struct

from varde.clock import fresh_id
from varde.crypto.trust import check_signature
from varde_contract.device_list import (
    DeviceList,
    ListedDevice,
    commitment,
    decode_list,
    decode_signed_list,
    judge,
)
from varde_contract.ids import AccountId, DeviceId, ProfileId, SessionId, decode_text_id
from varde_contract.refusals import RefusalCode
from varde_contract.rest.people import (
    AccountView,
    CodeRequest,
    CodeSent,
    DeviceLists,
    DeviceListView,
    DeviceProof,
    Devices,
    DeviceView,
    NewDeviceList,
    NewProfile,
    PrekeyCount,
    PrekeyUpload,
    Profiles,
    ProfileView,
    Refresh,
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
    query: Mapping[str, str] = {}


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
        self.lists: list[bytes] = []
        self.profiles: list[ProfileView] = []
        self.bound: dict[DeviceId, SessionId] = {}
        """Which session each device is bound to."""
        self.uploads: defaultdict[SessionId, list[PrekeyUpload]] = defaultdict(list)
        self.sessions: dict[str, SessionTokens] = {}
        self.code: str | None = CODE
        self.calls: list[Call] = []
        self.drop: Callable[[Call], bool] = lambda _: False
        self.lifetime = timedelta(hours=1)
        self.transport = httpx.MockTransport(self._handle)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        call = Call(request.method, request.url.path, request.headers.get("authorization"), dict(request.url.params))
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
                return AccountView(self.account, LONG_AGO, len(self.lists))
            case "PUT", "/v1/device-list":
                return self._put_list(msgspec.json.decode(body, type=NewDeviceList).list)
            case "GET", "/v1/device-list":
                lists = [DeviceListView(number, signed) for number, signed in enumerate(self.lists, start=1)]
                return DeviceLists(tuple(lists[int(call.query.get("from", "1")) - 1 :]))
            case "GET", "/v1/profiles":
                return Profiles(tuple(self.profiles))
            case "POST", "/v1/profiles":
                new = msgspec.json.decode(body, type=NewProfile)
                self.profiles.append(
                    ProfileView(ProfileId(fresh_id()), new.type, new.theme, new.policies, LONG_AGO, new.salt)
                )
                return self.profiles[-1]
            case "DELETE", "/v1/auth/session":
                self.end(session.session)
                return None
        return self._answer_device(call, body, session)

    def _answer_device(self, call: Call, body: bytes, session: SessionTokens) -> Struct | None:
        match call.method, call.path:
            case "GET", "/v1/devices":
                return Devices(tuple(self._view(listed, session) for listed in self.listed))
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

    @property
    def newest(self) -> DeviceList | None:
        """The account's newest list."""
        return decode_list(decode_signed_list(self.lists[-1]).statement) if self.lists else None

    @property
    def listed(self) -> tuple[ListedDevice, ...]:
        """The account's devices."""
        return () if self.newest is None else self.newest.devices

    def _put_list(self, signed: bytes) -> DeviceListView:
        if signed not in self.lists[-1:]:
            judge(self.newest, decode_signed_list(signed))
            self.lists.append(signed)
        return DeviceListView(len(self.lists), signed)

    def _view(self, listed: ListedDevice, session: SessionTokens) -> DeviceView:
        own = {commitment(profile.profile, profile.salt): profile.profile for profile in self.profiles}
        profiles = tuple(own[each] for each in listed.profiles)
        return DeviceView(listed.device, profiles, None, LONG_AGO, self.bound.get(listed.device) == session.session)

    def _adopt(self, wanted: str, proof: DeviceProof, session: SessionTokens) -> DeviceView:
        for listed in self.listed:
            if str(listed.device) == wanted:
                check_signature(listed.signing_key, session_statement(session.session, listed.device), proof.signature)
                before = self.bound.get(listed.device)
                self.bound[listed.device] = session.session
                if before not in {None, session.session}:
                    assert before is not None
                    self.uploads[session.session] = self.uploads.pop(before, [])
                    self.end(before)
                return self._view(listed, session)
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
    """The one device that is listed."""
    (listed,) = api.listed
    return listed.device
