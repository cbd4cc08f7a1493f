"""Callers and servers that stall, break off, and talk nonsense. No clock runs where a time is looked at."""

import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import gevent
import pytest
from gevent import ssl
from gevent.event import Event

from loadtest.exits import CouldNotRun
from loadtest.ledger.ledger import Ledger, PayloadCipher
from loadtest.ledger.reports import Account, reconcile
from loadtest.rest.client import REPLY_BYTES, ApiClient, Request, RequestFailed
from loadtest.rest.operations import ApiUsers
from loadtest.stack.certificate import make_certificate
from loadtest.users.target import find_target
from tests.loadtest.ledger.manual_clock import ManualClock
from tests.loadtest.rest.people import a_crowd
from tests.loadtest.rest.strange import open_strange, response

PATIENCE = 30
SECOND = 1_000_000_000


class Bench:
    """Some callers of one server."""

    def __init__(self, url: str, callers: int = 1) -> None:
        self.clock = ManualClock()
        self.ledger = Ledger(self.clock, PayloadCipher(bytes(32)))
        self.callers = ApiUsers(a_crowd(url, 2), self.ledger, self.clock)
        self.everybody = [self.callers.open(seat) for seat in range(callers)]
        self.living = [gevent.spawn(caller.live) for caller in self.everybody]

    def stop(self) -> Account:
        """End everybody, and account for what was."""
        for caller in self.everybody:
            caller.stop()
        assert len(gevent.joinall(self.living, timeout=PATIENCE)) == len(self.living)
        return reconcile([self.ledger.report()], ())

    def reconcile(self) -> Account:
        """Wait until everything was answered, and stop."""
        with gevent.Timeout(PATIENCE):
            while self.ledger.pending:
                gevent.sleep(0.001)  # the ledger says when it is settled, not that it will be
        return self.stop()


def failures(settled: Account) -> dict[str, int]:
    """All failures by word."""
    found: dict[str, int] = {}
    for endpoint in settled.endpoints_of([0]):
        for word, count in endpoint.failures.items():
            found[word] = found.get(word, 0) + count
    return found


def test_a_server_that_stalls_is_seen_by_those_who_had_to_wait() -> None:
    """While one request takes a second, others fall due and wait: corrected figures have their second, raw ones not."""
    benches: list[Bench] = []

    def stall_once() -> bytes:
        if strange.requests == 1:
            benches[0].clock.shows_ns += SECOND
        return response(b"{}")

    with open_strange(stall_once) as strange:
        bench = Bench(strange.url)
        benches.append(bench)
        for _ in range(10):
            bench.callers.fire(0)
        figures = bench.reconcile().sum_of([0]).latencies()
    assert (figures.request.count, figures.raw_request.count) == (10, 10)
    assert figures.request.p50 is not None
    assert figures.request.p50 >= 1_000
    assert figures.raw_request.p50 == 0.0


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (lambda: response(b"{}", "503 Service Unavailable"), "503"),
        (
            lambda: response(b'{"type":"x","title":"x","status":429,"code":"rate-limited","detail":"x"}', "429 No"),
            "429 rate-limited",
        ),
        (lambda: response(b"not JSON"), "malformed"),
        (lambda: response(b" " * (REPLY_BYTES + 1)), "too large"),
        (lambda: b"SMTP, hello\r\n", "broken off"),
        (lambda: b"", "broken off"),
        (lambda: b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n{}", "broken off"),
    ],
)
def test_nonsense_is_a_failure_in_a_word(answer: Callable[[], bytes], word: str) -> None:
    """Whatever a server says, it is counted, the caller lives on, and the next request has a connection."""
    with open_strange(answer) as strange:
        bench = Bench(strange.url)
        for _ in range(3):
            bench.callers.fire(0)
        assert failures(bench.reconcile()) == {word: 3}


def test_a_request_that_is_stopped_is_not_forgotten() -> None:
    """Who is stopped while it waits counts as unfinished, and what nobody has taken yet as unanswered."""
    asked, never = Event(), Event()

    def hang() -> bytes:
        asked.set()
        never.wait(PATIENCE)
        return b""

    with open_strange(hang) as strange:
        bench = Bench(strange.url)
        for _ in range(3):
            bench.callers.fire(0)
        assert asked.wait(PATIENCE)
        settled = bench.stop()
        never.set()
    assert failures(settled) == {"unfinished": 1}
    assert settled.pending == 2


def test_an_answer_that_never_comes_is_a_failure_in_a_word() -> None:
    """After its patience a caller gives up, and the next request has a connection of its own."""
    answered, hold = [False, True], Event()

    def hang_once() -> bytes:
        return response(b"") if answered.pop(0) or not hold.wait(PATIENCE) else b""

    request = Request(name="GET /v1/profiles")
    with open_strange(hang_once) as strange:
        client = ApiClient(find_target(strange.url, "API"), patience=0.05)
        with pytest.raises(RequestFailed, match="timeout"):
            client.ask(request)
        hold.set()
        assert client.ask(request) is None
        client.close()


def test_nobody_listening_is_a_failure_in_a_word() -> None:
    """A port that is closed is counted for each request that was due."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bench = Bench(f"http://127.0.0.1:{bound.getsockname()[1]}")
        for _ in range(3):
            bench.callers.fire(0)
        assert failures(bench.reconcile()) == {"refused": 3}


def test_an_idle_caller_does_not_wait_for_a_busy_one() -> None:
    """With two callers, what is due goes to the one that is idle; what nobody can take waits, and none is dropped."""
    hold = Event()

    def answer() -> bytes:
        hold.wait(PATIENCE)
        return response(b"{}")

    with open_strange(answer) as strange:
        bench = Bench(strange.url, callers=2)
        gevent.sleep(0)  # both are idle now
        for _ in range(5):
            bench.callers.fire(0)
        with gevent.Timeout(PATIENCE):
            while strange.requests < 2:
                gevent.sleep(0.001)  # the server's greenlet tells nobody that it was asked
        waiting = bench.callers.due.qsize()
        hold.set()
        settled = bench.reconcile()
    assert (waiting, settled.sum_of().requests_within) == (3, 5)
    assert len(set(strange.peers)) == 1, "one address for so few people"


def test_a_caller_that_stops_leaves_its_turn_to_others() -> None:
    """A request that woke a caller who stops before it takes it goes to somebody else."""
    with open_strange(lambda: response(b"{}")) as strange:
        bench = Bench(strange.url, callers=2)
        gevent.sleep(0)  # both are idle now
        bench.callers.fire(0)
        bench.everybody[0].stop()
        settled = bench.reconcile()
    assert (settled.sum_of().requests_within, settled.pending) == (1, 0)


def test_connections_come_from_the_callers_own_address_and_are_kept() -> None:
    """Two requests go over one connection from the address asked for, also with a thousand other files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 2_000), hard), hard))
    request = Request(name="GET /v1/profiles")
    with ExitStack() as others, open_strange(lambda: response(b"")) as strange:
        for _ in range(1_100):
            others.enter_context(open("/dev/null", "rb"))  # noqa: PTH123 - only the descriptor counts
        client = ApiClient(find_target(strange.url, "API"), "127.1.2.3")
        for _ in range(2):
            client.ask(request)
        client.close()
    assert strange.peers == ["127.1.2.3"]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_connection_over_tls_is_kept(tmp_path: Path) -> None:
    """Over TLS, too, requests share a connection, once the certificate is one to trust."""
    files = make_certificate(tmp_path)
    request = Request(name="GET /v1/profiles")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with open_strange(lambda: response(b""), context) as strange:
        client = ApiClient(find_target(strange.url, "API"), authority=files.certificate.read_text())
        for _ in range(3):
            client.ask(request)
        client.close()
        with pytest.raises(RequestFailed, match="unreachable"):
            ApiClient(find_target(strange.url, "API")).ask(request)
    assert len(strange.peers) == 1


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1", "http://", "127.0.0.1:80", "http://127.0.0.1:port"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    """A crowd without a usable address of an API is refused in words."""
    with pytest.raises(CouldNotRun, match="not like http://host:port"):
        find_target(url, "API")


def test_a_host_that_is_not_there_is_told() -> None:
    """A host without an address is refused in words, without its name."""
    with pytest.raises(CouldNotRun, match="cannot be found") as refused:
        find_target("http://varde.invalid:1", "API")
    assert "varde.invalid" not in str(refused.value)
