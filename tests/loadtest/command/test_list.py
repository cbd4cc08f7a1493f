"""`list` tells the whole catalogue."""

from click.testing import CliRunner

from loadtest.command.runs import amounts_of, catalogue, shape_of
from loadtest.scenarios.plan import SCENARIOS, Options


def listed(*arguments: str) -> str:
    """What is printed."""
    done = CliRunner().invoke(catalogue, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_every_scenario_is_told_with_what_it_shows() -> None:
    """Name, title, amounts, purpose and stages of each scenario are there."""
    said = " ".join(listed().split())
    for scenario in SCENARIOS.values():
        plan = scenario.plan(Options())
        assert f"{scenario.name}: {scenario.title} ({amounts_of(plan)})" in said
        assert " ".join(scenario.shows.split()) in said
        assert " ".join(shape_of(plan).split()) in said


def test_judged_stages_and_actions_are_marked() -> None:
    """Brackets stand around what is judged, and an action beside its stage."""
    assert shape_of(SCENARIOS["reconnect-storm"].plan(Options())) == (
        "arrive 43 s -> warm 5 s -> [storm 1 min 0 s (kill-node)] -> [after 20 s]"
    )


def test_amounts_are_words() -> None:
    """Users, rate and time are told as a person says them."""
    assert amounts_of(SCENARIOS["soak"].plan(Options())) == "2,000 users, 200 messages/s, 2 h 5 min"
    assert amounts_of(SCENARIOS["rest"].plan(Options())) == "500 users, 150 requests/s, 2 min 10 s"


def test_a_smoke_run_is_listed_as_small_as_it_is() -> None:
    """With --smoke the amounts are those of smoke runs."""
    assert amounts_of(SCENARIOS["steady"].plan(Options(smoke=True))) in listed("--smoke")
