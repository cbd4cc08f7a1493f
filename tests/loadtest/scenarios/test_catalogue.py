"""Every scenario makes a plan that can be followed, from whatever somebody may ask."""

import itertools
import math

import pytest

from loadtest.exits import CouldNotRun
from loadtest.scenarios.plan import SCENARIOS, Action, Behaviour, Kind, Options, Scenario

WANTED = {
    *("smoke", "idle", "steady", "groups", "flood", "connect-storm", "reconnect-storm", "drain", "slow-readers"),
    *("round-trip", "fleet-storm", "upgrade", "rebalance", "bus-loss", "failover"),
    *("half-open", "backlog", "churn", "rest", "soak", "ramp"),
}
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)


def test_the_catalogue_is_whole() -> None:
    """Every scenario that was promised is there, and no other."""
    assert set(SCENARIOS) == WANTED


@every_scenario
@pytest.mark.parametrize("smoke", [False, True])
def test_a_plan_can_be_followed(scenario: Scenario, smoke: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Each plan has named stages with time, seats for everybody, shares that add up, and something to judge."""
    plan = scenario.plan(Options(smoke=smoke))
    names = [stage.name for stage in plan.stages]
    assert plan.scenario == scenario.name
    assert len(set(names)) == len(names)
    assert not [name for name in names if "." in name], "a dot would divide a key of the SLO"
    amounts = [amount for stage in plan.stages for amount in (stage.seconds, stage.spawn_per_second)]
    assert min(amounts) > 0
    assert plan.seats == max(stage.users for stage in plan.stages)
    assert math.isclose(sum(share for _, share in plan.behaviours), 1)
    assert plan.stages[-1].judged


@every_scenario
def test_a_smoke_run_fits_a_minute(scenario: Scenario) -> None:
    """A smoke run leaves time for a stack to start and to end, is smaller than the real one, and is of its shape."""
    small, real = scenario.plan(Options(smoke=True)), scenario.plan(Options())
    planned = sum(stage.seconds for stage in small.stages)
    assert planned <= 40
    assert small.seats <= real.seats
    assert small.behaviours == real.behaviours
    assert [stage.action for stage in small.stages if stage.action] == [
        stage.action for stage in real.stages if stage.action
    ]


@every_scenario
def test_who_asks_is_given(scenario: Scenario) -> None:
    """Users, rate and seconds that are asked for are in the plan, also in that of a smoke run."""
    offers = any(stage.messages_per_second or stage.requests_per_second for stage in scenario.plan(Options()).stages)
    plan = scenario.plan(Options(users=77, rate=33 if offers else None, seconds=44, smoke=True))
    judged = [stage for stage in plan.stages if stage.judged]
    assert plan.seats == 77
    assert max(stage.seconds for stage in judged) == 44
    assert max(max(stage.messages_per_second, stage.requests_per_second) for stage in judged) == (33 if offers else 0)


@every_scenario
@pytest.mark.parametrize(
    "ask",
    [
        Options(users=1),
        Options(users=-5),
        Options(rate=0),
        Options(rate=math.nan),
        Options(rate=math.inf),
        Options(seconds=0),
        Options(seconds=-1),
        Options(seconds=math.inf),
    ],
    ids=str,
)
def test_nonsense_is_refused(scenario: Scenario, ask: Options) -> None:
    """Nobody, no rate, no time or endless ones are refused in words."""
    with pytest.raises(CouldNotRun, match=r"must be|no meaning"):
        scenario.plan(ask)


def test_a_rate_without_messages_is_refused() -> None:
    """A scenario that offers nothing says so, instead of leaving the choice unheard."""
    with pytest.raises(CouldNotRun, match="no meaning"):
        SCENARIOS["idle"].plan(Options(rate=10))


def test_the_steady_run_is_what_was_promised() -> None:
    """10,000 people, 1,000 messages a second, five judged minutes."""
    *_, hold = SCENARIOS["steady"].plan(Options()).stages
    assert (hold.users, hold.messages_per_second, hold.seconds) == (10_000, 1_000, 300)


def test_the_connect_storm_brings_everybody_in_half_a_minute() -> None:
    """10,000 come in the 30 seconds of the storm, evenly, and it is judged."""
    storm = SCENARIOS["connect-storm"].plan(Options()).stages[0]
    assert storm.spawn_per_second * storm.seconds == pytest.approx(10_000)
    assert (storm.seconds, storm.judged) == (30, True)


def test_a_ramp_climbs_to_the_top() -> None:
    """Each stage of a ramp offers more than the one before, by a quarter at most, up to what was asked for."""
    plan = SCENARIOS["ramp"].plan(Options(rate=3_000))
    rates = [stage.messages_per_second for stage in plan.stages if stage.judged]
    assert plan.ramp
    assert rates[-1] == 3_000
    assert all(low < high <= low * 1.26 for low, high in itertools.pairwise(rates))


def test_a_flood_is_one_room() -> None:
    """However many come, they are in one room."""
    plan = SCENARIOS["flood"].plan(Options(users=99))
    assert plan.rooms.weighted == ((99, 1.0),)


def test_each_misfortune_has_its_scenario() -> None:
    """Every action and every behaviour that a plan knows is met in some scenario, and so is each kind of user."""
    plans = [scenario.plan(Options()) for scenario in SCENARIOS.values()]
    assert {stage.action for plan in plans for stage in plan.stages if stage.action} == set(Action)
    assert {behaviour for plan in plans for behaviour, _ in plan.behaviours} == set(Behaviour)
    assert {plan.kind for plan in plans} == set(Kind)
