"""Every scenario there is, by its name and in the order they are told."""

from typing import Final

from loadtest.scenarios.backlog import BACKLOG
from loadtest.scenarios.churn import CHURN
from loadtest.scenarios.connect_storm import CONNECT_STORM
from loadtest.scenarios.drain import DRAIN
from loadtest.scenarios.flood import FLOOD
from loadtest.scenarios.groups import GROUPS
from loadtest.scenarios.half_open import HALF_OPEN
from loadtest.scenarios.idle import IDLE
from loadtest.scenarios.ramp import RAMP
from loadtest.scenarios.reconnect_storm import RECONNECT_STORM
from loadtest.scenarios.rest import REST
from loadtest.scenarios.scenario import Scenario
from loadtest.scenarios.slow_readers import SLOW_READERS
from loadtest.scenarios.smoke import SMOKE
from loadtest.scenarios.soak import SOAK
from loadtest.scenarios.steady import STEADY

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        *(SMOKE, IDLE, STEADY, GROUPS, FLOOD),
        *(CONNECT_STORM, RECONNECT_STORM, DRAIN),
        *(SLOW_READERS, HALF_OPEN, BACKLOG, CHURN),
        *(REST, SOAK, RAMP),
    )
}
