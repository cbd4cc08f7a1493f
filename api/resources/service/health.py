"""Whether the process runs, and whether it can serve."""

from typing import Final

from quart import Blueprint

from api.operation import operation
from api.replies import Answer, Reply
from api.world import World
from varde_contract.rest.problems import Health, Readiness

UNREADY: Final = 503

blueprint = Blueprint("health", __name__, url_prefix="/v1")


@blueprint.get("/health")
@operation(answers={200: Health}, open_to_all=True)
async def show_health(world: World) -> Answer:  # noqa: ARG001 - every view is given the world
    """Say that the process runs."""
    return Health()


@blueprint.get("/ready")
@operation(answers={200: Readiness, UNREADY: Readiness}, open_to_all=True)
async def show_readiness(world: World) -> Answer:
    """Say whether the process can serve.

    A load balancer takes it out of service while this is 503.
    """
    database = await world.probe()
    readiness = Readiness(ready=database, database=database)
    return readiness if database else Reply(UNREADY, readiness)
