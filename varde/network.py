"""How this machine reaches servers: its proxies, and the authorities it believes. Both come from the environment."""

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Final, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import httpx
import trio

from varde.errors import VardeError

_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})
_SOCKS_PACKAGES = ("socksio", "python_socks")
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def proxy_of(url: str) -> str | None:
    """Return the URL of the proxy that the environment names for a server; None for the straight way.

    `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` are read, in small letters too. Raises VardeError for a
    proxy that cannot be used; its text never shows the user and password in it.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_this_machine(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    wanted = "https" if parts.scheme in {"https", "wss"} else "http"
    proxy = proxies.get(wanted) or proxies.get("all")
    return None if not proxy else _check(proxy)


def _check(proxy: str) -> str:
    # Desktops write `socks://` and mean version 5, with names looked up by the proxy: to look one up here would tell
    # the network whom one talks to.
    if proxy.startswith(("socks://", "socks5://")):
        proxy = f"socks5h://{proxy.partition('://')[2]}"
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = None, False
    if not usable or parts is None:
        raise VardeError(
            "a proxy that the environment names cannot be used",
            code="bad-proxy",
            advice="set HTTPS_PROXY or ALL_PROXY to something like http://proxy.example.org:3128, or unset it",
        )
    if parts.scheme.startswith("socks") and not all(map(find_spec, _SOCKS_PACKAGES)):
        raise VardeError(
            "the environment names a SOCKS proxy, and what speaks SOCKS is not installed",
            code="bad-proxy",
            advice="`pip install 'varde[socks]'` adds it; or unset ALL_PROXY",
        )
    return proxy


def tls_context() -> ssl.SSLContext:
    """Return what judges certificates: this machine's authorities and Mozilla's, or those that `SSL_CERT_FILE` names.

    Raises VardeError for a file or folder that cannot be read.
    """
    return _tls_context(*map(os.environ.get, _AUTHORITIES))


@cache
def _tls_context(file: str | None, folder: str | None) -> ssl.SSLContext:
    # To read the authorities takes longer than most calls: once is enough for all clients of a process, and once more
    # where the environment names others.
    for name, path in zip(_AUTHORITIES, (file, folder), strict=True):
        if path and not os.access(path, os.R_OK):
            advice = "correct it, or unset it to believe the usual authorities"
            raise VardeError(f"{name} names {path}, which cannot be read", code="bad-authorities", advice=advice)
    try:
        if file or folder:
            return ssl.create_default_context(cafile=file or None, capath=folder or None)
    except ssl.SSLError:
        what = f"SSL_CERT_FILE names {file}, which holds no certificates"
        advice = "it must be PEM; unset it to believe the usual authorities"
        raise VardeError(what, code="bad-authorities", advice=advice) from None
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # a slim machine has none of its own
    return context


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, to name a server by: no user, password or path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_this_machine(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Why(NamedTuple):
    """Why a server was not reached, in a few words, and what to do about it where that is known."""

    words: str
    advice: str = ""


# By OpenSSL's codes (X509_V_ERR_..., openssl-verification-options). All others: nobody who is believed vouches for it.
_UNTRUSTED: Final = Why(
    "its certificate is not trusted",
    "if it is a server of your own, name the file with its authority in SSL_CERT_FILE; else somebody may be in between",
)
_CERTIFICATE_FAULTS: Final = {
    **dict.fromkeys(
        (62, 64), Why("its certificate is for another name", "reach it by the name that the certificate is made for")
    ),
    10: Why("its certificate has expired", "whoever runs it must renew it; look at the clock of this machine first"),
    9: Why("its certificate is not valid yet", "set the clock of this machine, which seems to be behind"),
    47: Why("its certificate is for another name than its authority may vouch for", _UNTRUSTED.advice),
}


def why_unreachable(error: BaseException) -> Why:
    """Say why a server was not reached. It names no address."""
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return _CERTIFICATE_FAULTS.get(cause.verify_code, _UNTRUSTED)
            case ssl.SSLError():
                return Why(
                    "it does not speak TLS there",
                    "if it is a server without TLS, write http://; look at the port as well",
                )
            case ConnectionRefusedError():
                return Why("nothing listens there")
            case socket.gaierror():
                return Why("its name is not known", "check how it is spelled, and whether there is a network")
            case TimeoutError() | httpx.TimeoutException() | trio.TooSlowError():
                return Why("it did not answer in time")
            case httpx.RemoteProtocolError() | httpx.ReadError() | httpx.WriteError():
                return Why(
                    "it hung up, or does not speak HTTP there",
                    "if it is a server with TLS, write https://; look at the port as well",
                )
    return Why("it did not answer")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    # Libraries wrap what the socket said, and a name with several addresses fails with a group.
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _causes(each)
        error = error.__cause__ or error.__context__
