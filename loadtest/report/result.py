"""The result of one run: what `result.json` holds, key for key. Its JSON Schema is made from these classes."""

from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from loadtest.exits import CouldNotRun, Verdict

SCHEMA: Final = 1
FILE: Final = "result.json"
RUNS: Final = Path("build") / "load"  # the folder of all runs
CPU_LIMIT: Final = 90.0  # percent of a core: a worker above it cannot say whether it was late itself


class Latency(Struct, frozen=True, kw_only=True):
    """Milliseconds, from an HDR histogram of three digits; None where nothing was measured."""

    count: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)  # `(percentile, milliseconds)`
    hdr: str = ""  # the histogram itself, in microseconds: HdrHistogram V2, compressed, base64


class Latencies(Struct, frozen=True, kw_only=True):
    """Corrected: from when a message should have been sent. Raw: from when it was."""

    send_to_ack: Latency = Latency()
    send_to_receive: Latency = Latency()
    raw_send_to_ack: Latency = Latency()
    raw_send_to_receive: Latency = Latency()
    connect: Latency = Latency()  # from the first SYN to Welcome
    request: Latency = Latency()  # of the API, corrected
    raw_request: Latency = Latency()
    backlog: Latency = Latency()
    """Of what gathered while a user was away: from when it began to come back until it was received."""


class Users(Struct, frozen=True, kw_only=True):
    """`connected` at the end of the last judged stage; `failed` are attempts to connect that did not succeed."""

    asked: int
    connected: int
    peak: int
    connects: int = 0
    reconnects: int = 0
    failed: int = 0


class Rate(Struct, frozen=True, kw_only=True):
    """Of the judged stages: messages (requests, for REST) that were offered and were done, per second."""

    target_per_second: float
    achieved_per_second: float
    deliveries_per_second: float = 0.0


class Messages(Struct, frozen=True, kw_only=True):
    """Every message accounted for. `due` counts deliveries: one for each device that should get a message."""

    sent: int = 0
    acked: int = 0
    refused: int = 0
    unacked: int = 0
    due: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    disordered: int = 0
    undecryptable: int = 0
    after_gap: int = 0  # deliveries that a gap record announced as not to be had; they are not lost
    resent: int = 0  # sends said again, with the same client id, after a connection was lost
    unfetched: int = 0
    """Deliveries to users that left of their own will and did not come back; they are due, but not lost."""
    astray: int = 0  # what came to somebody it was not for, or was never sent, or had been refused


class Requests(Struct, frozen=True, kw_only=True):
    """Of the API, in the whole run: all that ended, and those that were refused or broke."""

    done: int = 0
    failed: int = 0


class Endpoint(Struct, frozen=True, kw_only=True):
    """One operation of the API. `failures` by status or fault."""

    name: str
    requests: int
    latency_ms: Latency
    failures: dict[str, int] = field(default_factory=dict)


class WorkerFigures(Struct, frozen=True, kw_only=True):
    """One process of the generator."""

    name: str
    cpu_max_percent: float
    cpu_mean_percent: float
    rss_mib: float
    late_max_ms: float  # how far behind the schedule it ever was with a send


class Generator(Struct, frozen=True, kw_only=True):
    """What made the load, and whether it was the bottleneck. Percent of one core, over windows of five seconds."""

    cpu_max_percent: float
    workers: list[WorkerFigures] = field(default_factory=list)
    expected_workers: int = 1
    missing_workers: int = 0
    clock_uncertainty_ms: float = 0.0  # at worst, over the whole run
    late_percent: float = 0.0
    """Of the sends of the judged stages, those that a worker took up more than 100 ms after they were due."""
    bottlenecks: list[str] = field(default_factory=list)  # why the run is invalid, in words


class StageFigures(Struct, frozen=True, kw_only=True):
    """One stage of the plan, as it went."""

    name: str
    began_s: float  # since the run began
    seconds: float
    judged: bool
    users: int
    messages_per_second: float
    requests_per_second: float
    target_per_second: float
    latency_ms: Latencies


class Sample(Struct, frozen=True, kw_only=True):
    """One row of the time series; a row each second. None is what could not be asked."""

    at_s: float
    stage: str
    users: int
    connected: int
    sent_per_second: float
    received_per_second: float
    p50_ms: float | None
    p99_ms: float | None  # of send to receive (of a request, for REST) within this second, corrected
    generator_cpu_percent: float
    raw_p99_ms: float | None = None  # the same, from when it was sent
    server: dict[str, float] = field(default_factory=dict)
    """`<process>.cpu_percent`, `<process>.rss_mib`, `relay.lateness_ms`, `relay.connections`, ..."""


class Objective(Struct, frozen=True, kw_only=True):
    """One line of the SLO beside what was measured; `measured` is None where there was nothing."""

    key: str
    limit: float
    floor: float | None  # the hard floor, where the limit is a goal of ours
    measured: float | None
    met: bool
    words: str
    at_least: bool = False  # whether more is better; otherwise `limit` and `floor` are the most that is let pass

    def holds(self, limit: float) -> bool:
        """Whether what was measured is on the good side of a limit; nothing never is."""
        return self.measured is not None and (self.measured >= limit if self.at_least else self.measured <= limit)


class Finding(Struct, frozen=True, kw_only=True):
    """What a scenario was made to find, such as the breaking point or the slope of memory."""

    name: str
    value: float | None
    unit: str
    words: str


class Result(Struct, frozen=True, kw_only=True):
    """One run. `verdict` and `objectives` are the gate's; all other keys are measured."""

    schema: int = SCHEMA
    verdict: Verdict
    reasons: list[str] = field(default_factory=list)
    """In words: what was missed, or what made the run invalid or impossible."""
    scenario: str
    title: str = ""
    started: str  # RFC 3339, UTC
    seconds: float
    interrupted: bool = False
    plan: dict[str, Any] = field(default_factory=dict)
    users: Users
    rate: Rate
    latency_ms: Latencies
    messages: Messages
    requests: Requests = Requests()
    generator: Generator
    endpoints: list[Endpoint] = field(default_factory=list)
    stages: list[StageFigures] = field(default_factory=list)
    series: list[Sample] = field(default_factory=list)
    close_codes: dict[str, int] = field(default_factory=dict)
    """How connections ended: RFC 6455 and Varde's codes, `reset`, `refused`, `timeout`."""
    refusals: dict[str, int] = field(default_factory=dict)
    objectives: list[Objective] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)  # the fingerprint of the machine and the software

    @property
    def learned(self) -> bool:
        """Whether the run says anything about the system."""
        return self.verdict in {Verdict.MET, Verdict.MISSED}

    @property
    def judged_series(self) -> list[Sample]:
        """The samples of the judged stages."""
        judged = {stage.name for stage in self.stages if stage.judged}
        return [sample for sample in self.series if sample.stage in judged]


class ReadError(CouldNotRun):
    """There is no result to be read; the text names the file and says why."""


def read_result(path: Path) -> Result:
    """Read `result.json`, given the file or its folder. Raises ReadError."""
    file = path / FILE if path.is_dir() else path
    try:
        result = msgspec.json.decode(file.read_bytes(), type=Result)
    except OSError as error:
        raise ReadError(f"{file} cannot be read ({error.strerror}): give the folder of a run or its {FILE}") from error
    except msgspec.MsgspecError as error:
        raise ReadError(f"{file} is not the result of a run: {error}") from None
    if result.schema != SCHEMA:
        raise ReadError(f"{file} is a result of version {result.schema}; this program reads version {SCHEMA}")
    return result


def write_whole(path: Path, content: bytes) -> Path:
    """Replace a file as a whole: who reads meanwhile sees the old one or the new one."""
    half = path.with_name(f".{path.name}.half")
    half.write_bytes(content)
    return half.replace(path)


def split_page(page: Path, program: str) -> tuple[str, str, str]:
    """Return a page of the documentation in three: before, between and behind the marks of what a program writes.

    The marks stay with the outer parts. Raises CouldNotRun for a page without them.
    """
    begin, end = (f"<!-- written by `{program}`: {word} -->" for word in ("begin", "end"))
    before, began, rest = page.read_text(encoding="utf-8").partition(begin)
    inner, ended, after = rest.partition(end)
    if not began or not ended:
        raise CouldNotRun(f"{page.name} has no place for the results: it lost one of its marks")
    return before + begin, inner, end + after
