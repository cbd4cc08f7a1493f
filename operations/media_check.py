"""Judges the files for coturn and S3, for which there is no validator: by what they must say, and may not."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

COTURN: Final = {
    *("listening-port", "tls-listening-port", "listening-ip", "relay-ip", "external-ip", "min-port", "max-port"),
    *("cert", "pkey", "no-tlsv1", "no-tlsv1_1", "realm", "use-auth-secret", "stale-nonce", "fingerprint"),
    *("user-quota", "total-quota", "max-bps", "no-multicast-peers", "denied-peer-ip"),
    *("no-cli", "no-stdout-log", "log-file"),
}
"""Options of coturn 4.6 that may be used. It leaves out what it does not know: a slip of the pen would open a door."""
NEEDED: Final = ("use-auth-secret", "realm", "no-cli", "no-multicast-peers", "user-quota", "total-quota")
PRIVATE: Final = ("10.0.0.0", "100.64.0.0", "127.0.0.0", "169.254.0.0", "172.16.0.0", "192.168.0.0", "::1", "fc00::")
METHODS: Final = {"GET", "PUT", "HEAD"}


def judge_coturn(path: Path) -> str | None:
    """Return what is wrong with a turnserver.conf, or None."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    options = [line.partition("=")[::2] for line in lines]
    names = {name for name, _ in options}
    denied = {value.partition("-")[0] for name, value in options if name == "denied-peer-ip"}
    wrong = [
        *(f"{name} belongs into the file of the machine alone" for name in names & {"static-auth-secret"}),
        *(f"{name} is no option that is used here" for name in sorted(names - COTURN - {"static-auth-secret"})),
        *(f"{name} is missing" for name in NEEDED if name not in names),
        *(f"denied-peer-ip={network}-... is missing" for network in PRIVATE if network not in denied),
    ]
    return "\n".join(wrong) or None


def judge_buckets(paths: Sequence[Path]) -> str | None:
    """Return what is wrong with the rules of a bucket, or None."""
    for path in paths:
        try:
            rules: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            wrong = {"cors": _judge_cors, "lifecycle": _judge_lifecycle}[path.stem](rules)
        except (ValueError, KeyError, TypeError) as error:
            wrong = f"{type(error).__name__} {error}"
        if wrong:
            return f"{path.name}: {wrong}"
    return None


def _judge_cors(rules: dict[str, Any]) -> str | None:
    for rule in rules["CORSRules"]:
        if not all(origin.startswith("https://") and "*" not in origin for origin in rule["AllowedOrigins"]):
            return "an origin must be https:// and one alone"
        if not set(rule["AllowedMethods"]) <= METHODS:
            return f"methods may be {', '.join(sorted(METHODS))}"
    return None


def _judge_lifecycle(rules: dict[str, Any]) -> str | None:
    enabled = [rule for rule in rules["Rules"] if rule["Status"] == "Enabled"]
    for what in ("AbortIncompleteMultipartUpload", "Expiration"):
        if not any(what in rule for rule in enabled):
            return f"no rule has {what}, so a bucket would grow for ever"
    return None
