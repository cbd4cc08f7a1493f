"""`varde deploy check` over what is shipped, and over the same files with a fault planted in each."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from operations.commands import deploy
from operations.deploy_check import VALIDATORS, check_deployment, read_settings
from operations.media_check import judge_buckets, judge_coturn
from settings.environment import ConfigError
from tests import system
from tests.house import tree

DEPLOY = tree.ROOT / "deploy"
FAULTS = {
    "HAProxy": ("haproxy/haproxy.cfg", "balance url_param route", "balance by_luck"),
    "nginx": ("nginx/varde.conf", "ssl_protocols TLSv1.3;", "ssl_protocols TLSv9;"),
    "settings of prod": ("env/prod.toml", 'VARDE_RELAY_CONNECTIONS = "12000"', 'VARDE_RELAY_CONNECTIONS = "many"'),
    "dashboards": ("dashboards/relay.json", "varde-relay", "varde-fleet"),
    "coturn": ("coturn/turnserver.conf", "use-auth-secret\n", ""),
    "S3": ("s3/cors.json", "https://chat", "http://chat"),
    "Prometheus": ("prometheus/prometheus.yml", "scrape_interval: 15s", "scrape_interval: often"),
    "certificates": ("tls/certificates.sh", 'mkdir -p "$folder"', 'mkdir -p "$folder'),
    "alerts": ("prometheus/alerts.yml", "> 20000", "> 90000"),
    "Alertmanager": ("alertmanager/alertmanager.yml", "receiver: page", "receiver: nobody"),
    "Patroni": ("patroni/patroni.yml", "connect_address: 10.0.0.11:5432", "connect_address: localhost:5432"),
    "Kubernetes": ("kubernetes/relay.yaml", "replicas: 3", 'replicas: "three"'),
    "image": ("image/Dockerfile", "FROM python:3.11-slim-bookworm\n", "FROM python\n"),
    "compose": ("compose/compose.yaml", "stop_grace_period: 15s", "stop_grace: 15s"),
    "systemd units": ("systemd/varde-api.service", "Restart=on-failure", "Restarts=on-failure"),
    "systemd hardening": ("systemd/varde-worker.service", "CapabilityBoundingSet=\n", ""),
}


@pytest.fixture(autouse=True)
def _programs() -> None:
    """What .ci/run installs; the other validators come with pip."""
    system.require("promtool", "prometheus")
    system.require("amtool", "prometheus-alertmanager")
    system.require("systemd-analyze", "systemd")
    system.require("haproxy", "haproxy")
    system.require("nginx", "nginx")


def test_what_is_shipped_is_valid() -> None:
    """Every validator that is here has no complaint, and each file is judged by one."""
    found = list(check_deployment(DEPLOY))
    assert [verdict for verdict in found if verdict.complaint is not None] == []
    judged = (
        {path for validator in VALIDATORS for path in DEPLOY.glob(validator.files)}
        | set(DEPLOY.glob("env/*"))
        | set(DEPLOY.glob("dashboards/*"))
        | set(DEPLOY.glob("coturn/*"))
        | set(DEPLOY.glob("s3/*"))
    )
    folders = {path.parent for path in judged} | {path for path in judged if path.is_dir()}
    assert not [path for path in DEPLOY.iterdir() if path.is_dir() and path not in folders]


def test_a_part_that_is_not_there_is_not_judged(tmp_path: Path) -> None:
    """Whoever has systemd alone needs no file for Kubernetes; a folder with nothing in it is a mistake."""
    assert [verdict.complaint for verdict in check_deployment(tmp_path) if verdict.complaint] == [
        "there is no file of a deployment in it"
    ]
    shutil.copytree(DEPLOY / "systemd", tmp_path / "systemd")
    assert not [verdict for verdict in check_deployment(tmp_path) if verdict.complaint]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("coturn/turnserver.conf", "no-cli\n", "no-cil\n", "no-cil is no option"),
        ("coturn/turnserver.conf", "no-cli\n", "", "no-cli is missing"),
        ("coturn/turnserver.conf", "no-cli\n", "no-cli\nstatic-auth-secret=abc\n", "file of the machine"),
        ("coturn/turnserver.conf", "denied-peer-ip=10.0.0.0-10.255.255.255\n", "", "denied-peer-ip=10.0.0.0"),
        ("s3/cors.json", "https://chat.example.org", "*", "one alone"),
        ("s3/cors.json", '"HEAD"', '"DELETE"', "methods may be"),
        ("s3/lifecycle.json", '"Expiration"', '"Expiry"', "no rule has Expiration"),
        ("s3/lifecycle.json", '"Rules"', '"rules"', "KeyError"),
    ],
)
def test_files_without_a_validator_are_judged(tmp_path: Path, file: str, old: str, new: str, said: str) -> None:
    """A slip of the pen that coturn or S3 would take, and that opens a door."""
    folder = file.partition("/")[0]
    shutil.copytree(DEPLOY / folder, tmp_path / folder)
    text = (tmp_path / file).read_text()
    assert text.count(old) == 1
    (tmp_path / file).write_text(text.replace(old, new))
    judged = judge_coturn(tmp_path / file) if folder == "coturn" else judge_buckets([tmp_path / file])
    assert judged is not None
    assert said in judged


def test_only_variables_that_exist_are_set() -> None:
    """What the files of containers set is read by a program, or by the balancer's own file."""
    sources = [*(tree.ROOT / "settings").glob("*.py"), *(DEPLOY / "haproxy").glob("*.cfg")]
    known = set(re.findall(r"VARDE_[A-Z0-9_]+", "".join(path.read_text(encoding="utf-8") for path in sources)))
    for path in (
        *(DEPLOY / "compose").glob("*.yaml"),
        *(DEPLOY / "kubernetes").glob("*.yaml"),
        *DEPLOY.glob("image/*"),
    ):
        used = set(re.findall(r"\bVARDE_[A-Z0-9_]+", path.read_text(encoding="utf-8")))
        assert used <= known, (path.name, used - known)


def test_the_balancer_of_compose_is_told_where_everything_is() -> None:
    """Its file has addresses of one machine where a variable is not set; in a container these lead nowhere."""
    wanted = set(re.findall(r"\$\{(VARDE_\w+)-", (DEPLOY / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8")))
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))
    assert wanted - {"VARDE_BALANCER_CONNECTIONS"} == set(compose["services"]["haproxy"]["environment"])


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files with all faults: one run of all validators judges them all."""
    folder = tmp_path_factory.mktemp("deploy") / "deploy"
    shutil.copytree(DEPLOY, folder)
    for name, old, new in FAULTS.values():
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text, name
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    return folder


def test_a_fault_is_found(faulty: Path) -> None:
    """Each by the validator that is for it; the command says which, and fails."""
    done = CliRunner().invoke(deploy, ["check", str(faulty)])
    assert done.exit_code == 1
    assert {what for what in FAULTS if not re.search(rf"FAILED +{re.escape(what)}\b", done.output)} == set()
    assert "VARDE_RELAY_CONNECTIONS must be a whole number" in done.output


def test_settings_are_printed_for_a_program() -> None:
    """Its own and those for all, as an EnvironmentFile has them."""
    done = CliRunner().invoke(deploy, ["env", str(DEPLOY / "env" / "prod.toml"), "relay"])
    lines = dict(line.split("=", 1) for line in done.output.splitlines())
    assert lines["VARDE_RELAY_CONNECTIONS"] == "12000"
    assert lines["VARDE_LOG_FORMAT"] == "json"
    assert not [name for name in lines if name.startswith("VARDE_API")]


@pytest.mark.parametrize(
    "text",
    [
        "[api]\n",
        "[api]\n[relay]\n[worker]\n[other]\n",
        "[api]\nPATH='x'\n[relay]\n[worker]\n",
        "[api]\nVARDE_X=1\n[relay]\n[worker]\n",
    ],
)
def test_files_of_settings_have_one_shape(tmp_path: Path, text: str) -> None:
    """Three tables of variables of ours, as text."""
    file = tmp_path / "x.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        read_settings(file)
