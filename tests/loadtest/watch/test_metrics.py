"""A node's metrics as a report shows them, from pages as nodes write them."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from loadtest.watch.servers import Look, figures_of, look_at, parse, percentile, scrape


def page(*, connections: int, committed: int, late: tuple[int, int, int], closes: int = 0) -> str:
    """A page whose loop was late so often within 1 ms, within 10 ms and at all."""
    one, ten, all_ = late
    return f"""# HELP varde_relay_connections Connections now.
# TYPE varde_relay_connections gauge
varde_relay_connections{{state="stranger"}} 7
varde_relay_connections{{state="established"}} {connections}
# TYPE varde_relay_messages_committed_total counter
varde_relay_messages_committed_total {committed}
# TYPE varde_relay_disconnects_total counter
varde_relay_disconnects_total{{code="draining"}} {closes}
varde_relay_disconnects_total{{code="1000"}} {closes}
# TYPE varde_relay_outbox_deepest_bytes gauge
varde_relay_outbox_deepest_bytes 2048
# TYPE varde_relay_loop_lateness_seconds histogram
varde_relay_loop_lateness_seconds_bucket{{le="0.001"}} {one}
varde_relay_loop_lateness_seconds_bucket{{le="0.01"}} {ten}
varde_relay_loop_lateness_seconds_bucket{{le="+Inf"}} {all_}
varde_relay_loop_lateness_seconds_count {all_}
varde_relay_loop_lateness_seconds_sum {all_ * 0.0002}
varde_relay_something_else{{le="broken
"""


class Metrics:
    """Looks at nodes again and again, as if so many seconds had passed since the last look."""

    def __init__(self, urls: list[str]) -> None:
        self.urls, self.before = urls, Look(0.0, {}, {})

    def sample(self, seconds: float) -> dict[str, float]:
        """What the figures are now."""
        now = msgspec.structs.replace(look_at({}, self.urls), at=self.before.at + seconds)
        figures, self.before = figures_of(self.before, now), now
        return figures


class Node:
    """Answers every GET with its page."""

    def __init__(self) -> None:
        self.page = ""
        self.status = 200
        node = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(node.status)
                self.end_headers()
                self.wfile.write(node.page.encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/metrics"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def aclose(self) -> None:
        """Answer no more."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def node() -> Iterator[Node]:
    """A node that is there."""
    node = Node()
    node.thread.start()
    yield node
    node.aclose()


def test_a_page_is_read_as_far_as_it_is_wanted(node: Node) -> None:
    """Established connections, deepest outbox: what a page says at once; what only grows waits for a second page."""
    node.page = page(connections=100, committed=1000, late=(10, 10, 10))
    assert Metrics([node.url]).sample(0) == {
        "relay.connections": 100,
        "relay.outbox_deepest_kib": 2,
        "relay.journal_waiting": 0,
    }


def test_what_grows_is_a_rate(node: Node) -> None:
    """Counters become rates over the time between, of all their labels together; histograms the p99 of that time."""
    metrics = Metrics([node.url])
    node.page = page(connections=100, committed=1000, late=(1000, 1000, 1000))
    metrics.sample(0)
    node.page = page(connections=100, committed=1500, late=(1000, 1010, 1010), closes=4)
    sampled = metrics.sample(2.0)
    assert sampled["relay.commits_per_second"] == 250
    assert sampled["relay.closes_per_second"] == 4
    assert 9 < sampled["relay.lateness_ms"] < 10, "all of the last ten were later than 1 ms"
    assert "relay.commit_ms" not in sampled, "nothing was committed that the page tells of"


def test_what_is_in_the_first_bucket_is_its_mean(node: Node) -> None:
    """Where nearly all is below the first bound, the mean says more than a line through that bucket."""
    metrics = Metrics([node.url])
    node.page = page(connections=100, committed=1, late=(0, 0, 0))
    metrics.sample(0)
    node.page = page(connections=100, committed=1, late=(100, 100, 100))
    assert metrics.sample(1.0)["relay.lateness_ms"] == 0.2


def test_a_node_that_began_anew_counts_from_nothing(node: Node) -> None:
    """After a restart the counters are smaller, and no rate is negative."""
    metrics = Metrics([node.url])
    node.page = page(connections=100, committed=1000, late=(10, 10, 10))
    metrics.sample(0)
    node.page = page(connections=0, committed=30, late=(2, 2, 2))
    assert metrics.sample(1.0)["relay.commits_per_second"] == 30


def test_nodes_are_added_up(node: Node) -> None:
    """Connections of several nodes are one figure, and a node that is away adds nothing."""
    node.page = page(connections=100, committed=0, late=(0, 0, 0))
    metrics = Metrics([node.url, node.url + "?two", "http://127.0.0.1:1/metrics"])
    assert metrics.sample(0)["relay.connections"] == 200


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/metrics", "http://127.0.0.1:notaport/", "nonsense"])
def test_a_node_that_is_away_says_nothing(url: str) -> None:
    """Whatever keeps a page from coming, there is none, and nobody is disturbed."""
    assert scrape(url) is None


def test_an_answer_that_is_no_page_says_nothing(node: Node) -> None:
    """An error, and bytes that are no metrics, are no page."""
    node.page, node.status = page(connections=1, committed=1, late=(1, 1, 1)), 500
    assert scrape(node.url) is None
    node.page, node.status = 'varde_relay_connections{state="established"} many\n', 200
    assert scrape(node.url) is None


@pytest.mark.parametrize(
    ("buckets", "wanted"),
    [
        ({}, None),
        ({1.0: 0, 2.0: 0}, None),
        ({1.0: 100, 2.0: 100}, 0.99),
        ({1.0: 0, 2.0: 100}, 1.99),
        ({1.0: 50, float("inf"): 100}, 1.0),
    ],
)
def test_a_percentile_lies_on_a_line(buckets: dict[float, float], wanted: float | None) -> None:
    """Within a bucket the percentile is interpolated; beyond the last bound it is that bound."""
    assert percentile(buckets, 0.99) == wanted


def test_a_page_without_our_series_is_empty() -> None:
    """A page of some other program is read without complaint."""
    assert parse("# TYPE up gauge\nup 1\n") == {}
