"""Two servers of PostgreSQL under Patroni and one etcd, run as deploy/patroni says, but for addresses and TLS."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import yaml

from chaos.machines import Machine
from storage.embedded.cluster import program
from storage.embedded.os_user import OsUser, choose_os_user
from storage.grants import RIGHTS
from supervisor.ports import free_port

Adopt = Callable[[int], object]
"""Is told of each process that is started, to end it when whoever started it is killed."""

SHIPPED: Final = Path(__file__).parents[1] / "deploy" / "patroni" / "patroni.yml"
NAMES: Final = ("db1", "db2")
PATIENCE: Final = 60.0
"""Seconds. The longest wait is for the lease of a dead primary to end, after 20."""
POLL: Final = 0.05


class Etcd:
    """The one that keeps the leader's lease. In production there are three; with one, its death is that of all."""

    def __init__(self, folder: Path, host: str, adopt: Adopt) -> None:
        self._folder = folder
        self._host = host
        self._adopt = adopt
        self.port, self._peer_port = free_port(host), free_port(host)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where Patroni finds it."""
        return f"{self._host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process, when it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, with all it knew before, and wait until it answers."""
        client, peer = (f"http://{self.address}", f"http://{self._host}:{self._peer_port}")
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
                ("etcd", f"--data-dir={self._folder / 'etcd'}", *options), stdout=log, stderr=log
            )
        self._adopt(self._process.pid)
        wait(lambda: b"true" in _fetch(f"{client}/health"))

    def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Member:
    """One server: a Patroni, and the PostgreSQL that it starts."""

    def __init__(self, folder: Path, name: str, etcd: str, machine: Machine, user: OsUser, adopt: Adopt) -> None:
        self.name = name
        self.machine = machine
        # On a machine of its own every port is free.
        self.port, self._rest_port = (5432, 8008) if machine.namespace else (free_port(), free_port())
        self._rest = f"{machine.address}:{self._rest_port}"
        self._folder = folder / name
        self._user = user
        self._adopt = adopt
        self._folder.mkdir(mode=0o700)
        user.give(self._folder)
        config = self._folder / "patroni.yml"
        config.write_text(yaml.safe_dump(self._configure(etcd)))
        user.give(config)
        self._process: subprocess.Popen[bytes] | None = None

    def _configure(self, etcd: str) -> Mapping[str, Any]:
        # What decides about promises, `bootstrap`, is taken as it is shipped.
        config: dict[str, Any] = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
        config["name"] = self.name
        config["restapi"] |= {"listen": self._rest, "connect_address": self._rest}
        config["etcd3"] = {"hosts": [etcd]}
        config["watchdog"] = {"mode": "off"}
        # The least that Patroni allows: a standby becomes synchronous after two or three loops, and the loss of etcd is
        # believed after one timeout.
        config["bootstrap"]["dcs"] |= {"loop_wait": 1, "retry_timeout": 3}
        config["postgresql"] |= {
            "listen": f"{self.machine.address}:{self.port}",
            "connect_address": f"{self.machine.address}:{self.port}",
            "data_dir": str(self._folder / "data"),
            "bin_dir": str(Path(program("postgres")).parent),
            "pgpass": str(self._folder / "pgpass"),
            "pg_hba": [
                f"{kind} trust" for kind in ("local all all", f"host all,replication all {self.machine.address}/24")
            ],
            "basebackup": [{"checkpoint": "fast"}],
            "parameters": {"unix_socket_directories": str(self._folder), "shared_buffers": "16MB"},
        }
        return config

    def start(self) -> None:
        """Start Patroni. It finds out by itself what its PostgreSQL is to be."""
        environ = {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with (self._folder.parent / f"{self.name}.log").open("ab") as log:
            command: Sequence[str] = (sys.executable, "-m", "patroni", str(self._folder / "patroni.yml"))
            becomes = self._user.for_subprocess()
            if self.machine.namespace:
                # Only root may enter a namespace: who enters becomes the user.
                who = (f"--setuid={self._user.uid}", f"--setgid={self._user.gid}") if becomes else ()
                command, becomes = (*self.machine.enter, *who, *command), {}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environ, cwd="/", **becomes)
        self._adopt(self._process.pid)

    @property
    def state(self) -> Mapping[str, Any]:
        """What its Patroni says of it; nothing when there is no answer."""
        with suppress(ValueError):
            answer: Mapping[str, Any] = json.loads(_fetch(f"http://{self._rest}/patroni"))
            return answer
        return {}

    def switch_over(self, to: str) -> None:
        """Ask this one, the primary, to hand over. Returns when it has been done."""
        said = _fetch(f"http://{self._rest}/switchover", {"leader": self.name, "candidate": to})
        assert b"Successfully" in said, said

    @property
    def config(self) -> Path:
        """Its file."""
        return self._folder / "patroni.yml"

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
    def pids(self) -> list[int]:
        """Its Patroni and its postmaster, when they run."""
        found = [] if self._process is None else [self._process.pid]
        with suppress(OSError, ValueError):
            found.append(self._postmaster)
        return found

    @property
    def _postmaster(self) -> int:
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])


class PatroniCluster:
    """The two, and their etcd."""

    def __init__(self, folder: Path, user: OsUser, machines: Sequence[Machine], adopt: Adopt) -> None:
        self.etcd = Etcd(folder, machines[0].hub, adopt)
        self.members = {
            name: Member(folder, name, self.etcd.address, machine, user, adopt)
            for name, machine in zip(NAMES, machines, strict=True)
        }

    @property
    def url(self) -> str:
        """Both servers, for whoever wants to write."""
        return self._url("read-write")

    @property
    def replica_url(self) -> str:
        """Both, for whoever can do with what is behind."""
        return self._url("prefer-standby")

    def _url(self, wanted: str) -> str:
        ports = ",".join(str(member.port) for member in self.members.values())
        hosts = ",".join(member.machine.address for member in self.members.values())
        return f"postgresql://varde@/varde?host={hosts}&port={ports}&target_session_attrs={wanted}"

    @property
    def pids(self) -> dict[str, list[int]]:
        """The processes that each part has begun with."""
        etcd = [] if self.etcd.pid is None else [self.etcd.pid]
        return {"etcd": etcd} | {name: member.pids for name, member in self.members.items()}

    def start(self) -> None:
        """Start all, and make the database. The standby may be on its way yet: see `wait_healthy`."""
        self.etcd.start()
        for member in self.members.values():
            member.start()
        # It has the role before it takes statements.
        wait(lambda: any(_is_open_primary(member.state) for member in self.members.values()))
        primary = self.primary
        server = f"host={primary.machine.address} port={primary.port} user=postgres dbname=postgres"
        users = (f"CREATE ROLE {user} LOGIN" for user in ("varde", *RIGHTS))
        statements = *users, "CREATE DATABASE varde OWNER varde"
        commands = [part for statement in statements for part in ("-c", statement)]
        subprocess.run((program("psql"), "-X", "-q", *commands, server), check=True)

    def stop(self) -> None:
        """End all, in whatever state they are."""
        for member in self.members.values():
            member.stop()
        self.etcd.kill()

    def wait_healthy(self) -> Member:
        """Return the primary, once the other one is its synchronous standby."""
        wait(lambda: any(member.state.get("sync_standby") for member in self.members.values()))
        return self.primary

    @property
    def primary(self) -> Member:
        """The one that takes writes. Raises LookupError while there is none."""
        for member in self.members.values():
            if member.state.get("role") == "primary":
                return member
        raise LookupError("no primary")

    def ask(self, statement: str) -> list[str]:
        """What the primary answers, line by line, with `|` between two columns."""
        command = (program("psql"), "-X", "-At", "-c", statement, self.url)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    def other(self, than: Member) -> Member:
        """The other one."""
        (found,) = (member for member in self.members.values() if member is not than)
        return found


def _is_open_primary(state: Mapping[str, Any]) -> bool:
    return (state.get("role"), state.get("state")) == ("primary", "running")


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
def open_patroni_cluster(
    folder: Path, machines: Sequence[Machine] = (Machine(), Machine()), adopt: Adopt = bool
) -> Iterator[PatroniCluster]:
    """Run a cluster until the block ends, each of the two on a machine of its own where there are any."""
    user = choose_os_user()
    for path in (folder, Path(sys.executable).resolve().parent, Path(sys.prefix), Path(program("postgres")).parent):
        user.let_through(path)
    cluster = PatroniCluster(folder, user, machines, adopt)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
