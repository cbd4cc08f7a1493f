"""Runs the blocks of docs/operations that are marked as tested, as on one machine: real programs, other folders."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from chaos.certificates import Authority, ecdsa_key, pem_of
from tests.debian_postgres import DEADLINE, PROGRAMS, _run, _unprivileged
from tests.end_to_end.stack import newest_code
from tests.house.tree import ROOT
from tests.system import require

PAGES: Final = ROOT / "docs" / "operations"
STAND_INS: Final = Path(__file__).with_name("stand_ins")
BLOCK: Final = re.compile(r"^( *)```sh tested\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
FOLDERS: Final = re.compile(r"(?<![\w/.])/(opt|srv|var/lib|etc|run)/(?=varde|haproxy|systemd)")
"""What pages and files of deploy/ name at the root of a machine."""
PORTS: Final = "8401", "8402", "8403", "8400", "9400", "9402"
NAME: Final = "chat.example.org"
PASSWORD: Final = "..."
"""As the pages write it."""
PATIENCE: Final = 300
"""Seconds for one page; each takes about ten on a machine with nothing else to do."""


class Machine:
    """A machine in a folder. `blocks` counts what was run."""

    def __init__(self, folder: Path, postgres: int) -> None:
        self.folder, self.authority = folder, folder / "authority.pem"
        self._postgres = postgres
        self._balancer, *ports = _free_ports(len(PORTS) + 1)
        self._ports = dict(zip(PORTS, map(str, ports), strict=True))
        for name in (
            "etc/systemd/system",
            "etc/haproxy",
            "run/haproxy",
            "pids",
            "log",
            "srv",
            "var/lib",
            "opt/varde/bin",
        ):
            (folder / name).mkdir(parents=True)
        shutil.copytree(ROOT / "deploy", folder / "release/deploy")
        for path in (folder / "release/deploy").rglob("*"):
            if path.is_file():
                path.write_text(self.translate(path.read_text()))
        varde = folder / "opt/varde/bin/varde"
        varde.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m varde_cli "$@"\n')
        varde.chmod(0o755)
        authority, key = Authority(), ecdsa_key()
        self.authority.write_bytes(authority.pem())
        (folder / "release/fullchain.pem").write_bytes(authority.certify(key))
        (folder / "release/privkey.pem").write_bytes(pem_of(key))

    @property
    def api_url(self) -> str:
        """Where clients find the API: at the balancer."""
        return f"https://127.0.0.1:{self._balancer}"

    def code_for(self, address: str) -> str:
        """The newest code mailed to an address."""
        return newest_code(self.folder / "var/lib/varde-api/outbox", address)

    def translate(self, text: str) -> str:
        """Put this machine's folders, ports and name into a text."""
        text = FOLDERS.sub(rf"{self.folder}/\1/", text)
        text = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda port: self._ports[port[1]], text)
        text = text.replace(f"wss://{NAME}/", f"wss://127.0.0.1:{self._balancer}/")
        text = text.replace('-:443}"', f'-127.0.0.1:{self._balancer}}}"')
        text = text.replace('-40000}"', '-1000}"')  # as many files as a test may open
        return text.replace("@localhost/", f"@127.0.0.1:{self._postgres}/")

    def run(self, page: str) -> str:
        """Run the tested blocks of a page in one shell; return what was printed. Raises AssertionError."""
        text = (PAGES / page).read_text(encoding="utf-8")
        blocks = [block[2] for block in BLOCK.finditer(text)]
        assert blocks, f"{page} has no tested block"
        script = self.folder / f"{page}.sh"
        lines = ["set -eu", *(re.sub(r"^ {3}", "", each, flags=re.MULTILINE) for each in blocks)]
        script.write_text(self.translate("\n".join(lines)))
        tools = f"{STAND_INS}:{self.folder}/opt/varde/bin:{PROGRAMS}:{os.environ['PATH']}:/usr/sbin"
        environ = {
            "PATH": tools,
            "HOME": str(self.folder),
            "MACHINE": str(self.folder),
            "SSL_CERT_FILE": str(self.authority),
            "PGHOST": str(self.folder / "postgres"),
            "PGPORT": str(self._postgres),
            "PGUSER": "postgres",
        }
        done = subprocess.run(
            ("bash", str(script)),
            cwd=self.folder / "release",
            env=environ,
            input=f"{PASSWORD}\n" * 3,  # of the users of programs, whom the page asks for
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
            start_new_session=True,  # or it would ask at the terminal of whoever runs the tests
        )
        assert done.returncode == 0, f"{page}: {done.stdout}"
        return done.stdout

    def stop(self) -> None:
        """End every program that was started."""
        for file in (self.folder / "pids").glob("*"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGTERM)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; the one with a 1 in front is free, too, for a unit's metrics."""
    # All of them are below those that the kernel gives away. Two runs on one machine begin at different ones.
    found: list[int] = []
    for port in range(2_000 + secrets.randbelow(5_000), 9_999):
        with suppress(OSError):
            for each in (port, int(f"1{port}")):
                socket.create_server(("127.0.0.1", each)).close()
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no ports are free")


@contextmanager
def open_machine(folder: Path) -> Iterator[Machine]:
    """A machine with PostgreSQL and the packages that step 1 of the installation names."""
    require("haproxy", "haproxy")
    require("socat", "socat")
    require("curl", "curl")
    require(str(PROGRAMS / "postgres"), "postgresql-15")
    (port,) = _free_ports(1)
    folder.chmod(0o711)  # PostgreSQL may run as another user
    sockets = folder / "postgres"
    sockets.mkdir()
    user, cluster = _unprivileged(sockets), sockets / "cluster"
    hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    _run("initdb", "-D", cluster, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", **user)
    (cluster / "pg_hba.conf").write_text(hba)
    on = f"-c listen_addresses=127.0.0.1 -c fsync=off -c port={port} -k {sockets}"
    _run("pg_ctl", "-D", cluster, "-l", sockets / "log", "-o", on, "-w", "-t", DEADLINE, "start", **user)
    machine = Machine(folder, port)  # now: what PostgreSQL listens on is not free any more
    try:
        yield machine
    finally:
        machine.stop()
        _run("pg_ctl", "-D", cluster, "-m", "immediate", "-w", "-t", DEADLINE, "stop", **user)
