"""Settings of what operators see of any server program: log lines, traces, reports of errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from settings.environment import ConfigError, read_number, split_url

SAMPLE: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservabilitySettings:
    """What is written where. Nothing leaves the machine unless it is told to."""

    json_logs: bool = False
    otlp_url: str | None = None
    """Where spans go, by OTLP over HTTP; None for nowhere."""
    otlp_one_in: int = SAMPLE
    """Of so many, one is traced."""
    sentry_dsn: str | None = field(default=None, repr=False)
    """Where errors are reported that nobody expected; None for nowhere. It holds a key."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "ObservabilitySettings":
        """Read `VARDE_LOG_FORMAT`, `VARDE_OTLP_URL`, `VARDE_OTLP_ONE_IN` and `VARDE_SENTRY_DSN`.

        Raises:
            ConfigError: naming the variable.
        """
        log_format = environ.get("VARDE_LOG_FORMAT") or "text"
        if log_format not in {"text", "json"}:
            raise ConfigError("VARDE_LOG_FORMAT must be text or json")
        return cls(
            json_logs=log_format == "json",
            otlp_url=_read_url(environ, "VARDE_OTLP_URL"),
            otlp_one_in=read_number(environ, "VARDE_OTLP_ONE_IN", SAMPLE, least=1),
            sentry_dsn=_read_url(environ, "VARDE_SENTRY_DSN"),
        )


def _read_url(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name) or None
    url = None if text is None else split_url(name, text)
    if url is not None and (url.scheme not in {"http", "https"} or not url.hostname):
        raise ConfigError(f"{name} must be an http:// or https:// URL")
    return text
