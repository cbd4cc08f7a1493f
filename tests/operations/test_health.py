"""A container asks whether its program lives: with TLS and without, and it is no when nobody answers as they should."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from chaos.certificates import Authority, issue
from observability.definition import Page
from observability.serving import start_metrics
from operations.health import is_well
from settings.tls import METRICS, TlsFiles
from storage.program import read_clock
from tls.certificate import TlsCertificate


async def _render(*, openmetrics: bool) -> Page:
    await trio.lowlevel.checkpoint()
    raise AssertionError(openmetrics)


async def _drains() -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    return ("draining",)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_program_is_asked_at_its_operators_port(tmp_path: Path, *, tls: bool) -> None:
    """It lives, and is not ready; a port where nobody is, and no port at all, are no."""
    environ, make_context = {}, None
    if tls:
        authority = Authority()
        (tmp_path / "ca.pem").write_bytes(authority.pem())
        files = TlsFiles(*issue(authority, tmp_path, name="varde_worker"), tmp_path / "ca.pem", METRICS)
        make_context = TlsCertificate(files, read_clock).make_context
        environ = dict(zip(METRICS, map(str, (files.certificate, files.key, files.client_ca)), strict=True))
    async with trio.open_nursery() as nursery:
        address = await start_metrics(("127.0.0.1", 0), _render, _drains, nursery, tls=make_context, strict=True)
        environ["VARDE_WORKER_METRICS_BIND"] = address
        assert await trio.to_thread.run_sync(is_well, environ, "/v1/health")
        assert not await trio.to_thread.run_sync(is_well, environ, "/v1/ready")
        nursery.cancel_scope.cancel()
    assert not is_well(environ, "/v1/health")
    assert not is_well({}, "/v1/health")


async def test_whoever_else_has_the_port_is_not_believed(tmp_path: Path) -> None:
    """A program of another authority, and one in plain text, where TLS is expected."""
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    ours, theirs = Authority(), Authority()
    (tmp_path / "ca.pem").write_bytes(ours.pem())
    mine = TlsFiles(*issue(ours, tmp_path / "ours"), tmp_path / "ca.pem", METRICS)
    other = TlsFiles(*issue(theirs, tmp_path / "theirs"), tmp_path / "ca.pem", METRICS)
    environ = dict(zip(METRICS, map(str, (mine.certificate, mine.key, mine.client_ca)), strict=True))
    for make_context in (TlsCertificate(other, read_clock).make_context, None):
        async with trio.open_nursery() as nursery:
            address = await start_metrics(("127.0.0.1", 0), _render, _drains, nursery, tls=make_context, strict=True)
            environ["VARDE_RELAY_METRICS_BIND"] = address
            assert not await trio.to_thread.run_sync(is_well, environ, "/v1/health")
            nursery.cancel_scope.cancel()
