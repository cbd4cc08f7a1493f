"""An API that asks who connects: the balancer, with a certificate of the authority, and nobody else."""

from pathlib import Path

import httpx
import pytest

from chaos.certificates import Authority, issue
from settings.tls import API, TlsFiles
from storage.program import read_clock
from tests.api.memory_api import MemoryApi, serve_services
from tls.certificate import TlsCertificate


async def test_only_who_shows_a_certificate_of_the_authority_is_answered(api: MemoryApi, tmp_path: Path) -> None:
    """One of another authority, and none, get nothing."""
    ours, theirs = Authority(), Authority()
    (tmp_path / "ca.pem").write_bytes(ours.pem())
    files = TlsFiles(*issue(ours, tmp_path / "api"), tmp_path / "ca.pem", API)
    own = TlsCertificate(files, read_clock)
    async with serve_services(api.services, tls=own.make_context) as (address, _, _):
        for name, authority in (("balancer", ours), ("stranger", theirs), ("nobody", None)):
            context = ours.trusting()
            if authority is not None:
                context.load_cert_chain(*issue(authority, tmp_path / name))
            async with httpx.AsyncClient(verify=context) as client:
                if authority is ours:
                    assert (await client.get(f"https://{address}/v1/health")).status_code == 200
                else:
                    with pytest.raises(httpx.TransportError):
                        await client.get(f"https://{address}/v1/health")
