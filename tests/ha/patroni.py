"""Two servers of PostgreSQL under Patroni and one etcd, run as `deploy/patroni/` says, but for addresses and TLS."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import yaml

from storage.embedded.cluster import program
from storage.embedded.os_user import OsUser, choose_os_user
from tests import system
from tests.end_to_end.balancer import free_port
from tests.house import tree

SHIPPED: Final = tree.ROOT / "deploy" / "patroni" / "patroni.yml"
NAMES: Final = ("db1", "db2")
PATIENCE: Final = 60.0
"""Seconds. The longest wait is for the lease of a dead primary to end, after 20."""
POLL: Final = 0.05


class Etcd:
    """The one that keeps the leader's lease. In production there are three; with one, its death is that of all."""

    def __init__(self, folder: Path) -> None:
        self._program = system.require("etcd", "etcd-server")
        self._folder = folder
        self.port, self._peer_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with all it knew before, and wait until it answers."""
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.port, self._peer_port))
        addresses = {
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        options = [f"--{name}={address}" for name, address in addresses.items()]
        with (self._folder / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen(
                (self._program, f"--data-dir={self._folder / 'etcd'}", *options), stdout=log, stderr=log
            )
        wait(lambda: b"true" in _fetch(f"{client}/health"))

    def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Member:
    """One server: a Patroni, and the PostgreSQL that it starts."""

    def __init__(self, folder: Path, name: str, etcd_port: int, user: OsUser) -> None:
        self.name = name
        self.port, self._rest_port = free_port(), free_port()
        self._folder = folder / name
        self._user = user
        self._folder.mkdir(mode=0o700)
        user.give(self._folder)
        config = self._folder / "patroni.yml"
        config.write_text(yaml.safe_dump(self._configure(etcd_port)))
        user.give(config)
        self._process: subprocess.Popen[bytes] | None = None

    def _configure(self, etcd_port: int) -> Mapping[str, Any]:
        # What decides about promises, `bootstrap`, is taken as it is shipped.
        config: dict[str, Any] = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
        rest = {"listen": f"127.0.0.1:{self._rest_port}", "connect_address": f"127.0.0.1:{self._rest_port}"}
        config["name"] = self.name
        config["restapi"] |= rest
        config["etcd3"] = {"hosts": [f"127.0.0.1:{etcd_port}"]}
        config["watchdog"] = {"mode": "off"}
        # The least that Patroni allows: a standby becomes synchronous after two or three loops, and the loss of etcd is
        # believed after one timeout.
        config["bootstrap"]["dcs"] |= {"loop_wait": 1, "retry_timeout": 3}
        config["postgresql"] |= {
            "listen": f"127.0.0.1:{self.port}",
            "connect_address": f"127.0.0.1:{self.port}",
            "data_dir": str(self._folder / "data"),
            "bin_dir": str(Path(program("postgres")).parent),
            "pgpass": str(self._folder / "pgpass"),
            "pg_hba": [f"{kind} trust" for kind in ("local all all", "host all,replication all 127.0.0.1/32")],
            "basebackup": [{"checkpoint": "fast"}],
            "parameters": {"unix_socket_directories": str(self._folder), "shared_buffers": "16MB"},
        }
        return config

    def start(self) -> None:
        """Start Patroni. It finds out by itself what its PostgreSQL is to be."""
        environ = {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with (self._folder.parent / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-m", "patroni", self._folder / "patroni.yml"),
                stdout=log,
                stderr=log,
                env=environ,
                cwd="/",
                **self._user.for_subprocess(),
            )

    @property
    def state(self) -> Mapping[str, Any]:
        """What its Patroni says of it; nothing when there is no answer."""
        with suppress(ValueError):
            answer: Mapping[str, Any] = json.loads(_fetch(f"http://127.0.0.1:{self._rest_port}/patroni"))
            return answer
        return {}

    def switch_over(self, to: str) -> None:
        """Ask this one, the primary, to hand over. Returns when it has been done."""
        said = _fetch(f"http://127.0.0.1:{self._rest_port}/switchover", {"leader": self.name, "candidate": to})
        assert b"Successfully" in said, said

    def kill_postgres(self) -> None:
        """End the postmaster; its children follow when they notice."""
        os.kill(self._postmaster, signal.SIGKILL)

    def kill(self) -> None:
        """End Patroni and PostgreSQL, as a power cut would."""
        postmaster = self._postmaster
        self._kill_patroni()
        os.kill(postmaster, signal.SIGKILL)

    def stop(self) -> None:
        """End both, in whatever state they are."""
        self._kill_patroni()
        with suppress(OSError, ValueError):
            os.kill(self._postmaster, signal.SIGQUIT)

    def _kill_patroni(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def _postmaster(self) -> int:
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])


class PatroniCluster:
    """The two, and their etcd."""

    def __init__(self, folder: Path, user: OsUser) -> None:
        self.etcd = Etcd(folder)
        self._members = {name: Member(folder, name, self.etcd.port, user) for name in NAMES}

    @property
    def url(self) -> str:
        """Both servers, for whoever wants to write."""
        return self._url("read-write")

    @property
    def replica_url(self) -> str:
        """Both, for whoever can do with what is behind."""
        return self._url("prefer-standby")

    def _url(self, wanted: str) -> str:
        ports = ",".join(str(member.port) for member in self._members.values())
        hosts = ",".join("127.0.0.1" for _ in self._members)
        return f"postgresql://varde@/varde?host={hosts}&port={ports}&target_session_attrs={wanted}"

    def start(self) -> None:
        """Start all, and make the database. The standby may be on its way yet: see `wait_healthy`."""
        self.etcd.start()
        for member in self._members.values():
            member.start()
        wait(lambda: any(member.state.get("role") == "primary" for member in self._members.values()))
        primary = self.primary
        server = f"host=127.0.0.1 port={primary.port} user=postgres dbname=postgres"
        statements = "CREATE ROLE varde LOGIN", "CREATE DATABASE varde OWNER varde"
        commands = [part for statement in statements for part in ("-c", statement)]
        subprocess.run((program("psql"), "-X", "-q", *commands, server), check=True)

    def stop(self) -> None:
        """End all, in whatever state they are."""
        for member in self._members.values():
            member.stop()
        self.etcd.kill()

    def wait_healthy(self) -> Member:
        """Return the primary, once the other one is its synchronous standby."""
        wait(lambda: any(member.state.get("sync_standby") for member in self._members.values()))
        return self.primary

    @property
    def primary(self) -> Member:
        """The one that takes writes. Raises LookupError while there is none."""
        for member in self._members.values():
            if member.state.get("role") == "primary":
                return member
        raise LookupError("no primary")

    def other(self, than: Member) -> Member:
        """The other one."""
        (found,) = (member for member in self._members.values() if member is not than)
        return found


def wait(happened: Callable[[], bool]) -> None:
    """Return when it has. Raises TimeoutError."""
    for _ in range(round(PATIENCE / POLL)):
        if happened():
            return
        time.sleep(POLL)  # these programs tell nobody
    raise TimeoutError("the cluster does not get there")


def _fetch(url: str, body: Mapping[str, str] | None = None) -> bytes:
    """What is answered, whatever its status; nothing when nobody answers."""
    password = base64.b64encode(b"patroni:change-me").decode()
    request = urllib.request.Request(  # noqa: S310 - of our own
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {password}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            said: bytes = answer.read()
    except urllib.error.HTTPError as error:
        said = error.read()
        error.close()
    except OSError:
        said = b""
    return said


@contextmanager
def open_patroni_cluster(folder: Path) -> Iterator[PatroniCluster]:
    """Run a cluster until the block ends."""
    user = choose_os_user()
    for path in (folder, Path(sys.executable).resolve().parent, Path(sys.prefix), Path(program("postgres")).parent):
        user.let_through(path)
    cluster = PatroniCluster(folder, user)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
