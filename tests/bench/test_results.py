"""Medians, ratios, and the mark on what a busy generator measured."""

from pathlib import Path

import pytest

from bench.dimensions import Window, point_of_windows
from bench.report import NOTHING, figure
from bench.results import Results, judge, point_of, ratios_of, rounded
from tests.bench.sample import sample_tree

LIGHT = ("fanout", "light", "rooms", "100")


def window(us: float, generator_load: float = 0.5) -> Window:
    """One second."""
    return {
        "us_per_delivery": us,
        "deliveries_per_second": 10_000,
        "offered_per_second": 20_000,
        "sent": 100,
        "held_back": 1,
        "refused": 2,
        "server_load": us / 100,
        "generator_load": generator_load,
    }


def test_the_median_stands_and_the_spread_is_kept() -> None:
    """Of several rounds the middle one is the figure; smallest, largest and all of them are beside it."""
    assert point_of("us", [3.0, 100.0, 2.0]) == {"us": 3.0, "spread": [2.0, 100.0], "rounds": [3.0, 100.0, 2.0]}


def test_the_median_of_the_rounds_is_the_figure() -> None:
    """Of CPU and of what was achieved; what was held back or refused is added up."""
    point = point_of_windows(LIGHT, [window(10.0), window(30.0), window(20.0)])
    assert (point["us_per_delivery"], point["spread"]) == (20.0, [10.0, 30.0])
    assert (point["offered_per_second"], point["achieved_per_second"], point["held_back"]) == (20_000, 10_000, 3)
    assert point["refused"] == 6


@pytest.mark.parametrize(("cpu", "bound"), [(0.9, False), (0.91, True)])
def test_a_busy_generator_marks_the_figure(cpu: float, bound: bool) -> None:  # noqa: FBT001 - a table of cases
    """One round with the generator above 90 % of a core is enough for the mark."""
    point = point_of_windows(LIGHT, [window(10.0), window(10.0, generator_load=cpu)])
    assert (point["generator_bound"], point["generator_load"]) == (bound, cpu)


def test_figures_have_the_digits_that_were_measured() -> None:
    """Four in the results, three in a table, thousands apart, and a dash for what is not there."""
    assert rounded(1234.567) == 1235.0
    shown = [figure(value) for value in (12_345.6, 123.4, 12.34, 0.05, 0.0, 9_000, None, True)]
    assert shown == ["12,300", "123", "12.3", "0.0500", "0", "9,000", NOTHING, NOTHING]


def test_ratios_are_ours_over_theirs() -> None:
    """Each peer's ratio says how many times its figure ours is, and a peer without a figure has none."""
    results = Results(Path(), sample_tree())
    del results.tree["direct"]["websockets"]
    ratios = ratios_of(results)
    assert ratios["fanout.light"]["picows"] == round(11 / 12, 3)
    assert "varde" not in ratios["idle"]
    assert "websockets" not in ratios["direct"]


def test_targets_are_met_missed_or_not_measured() -> None:
    """A verdict follows from the figures alone, and where there is none it is neither met nor missed."""
    verdicts = {verdict["what"]: verdict["met"] for verdict in judge(Results(Path(), sample_tree()))}
    assert verdicts["fan-out CPU, light load, of picows"] is True
    assert verdicts["fan-out CPU, saturated, of picows"] is False
    assert verdicts["durable, 10,000 connections, 10,000 messages/s: p99"] is None
    assert {verdict["met"] for verdict in judge(Results(Path()))} == {None}
