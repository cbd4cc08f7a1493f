"""Every metric there is, in the order of the page and of docs/metrics.md."""

from typing import Final

from relay.metrics import connecting, living, storing, wiring
from relay.metrics.row import Row

TABLE: Final[tuple[Row, ...]] = (*connecting.ROWS, *wiring.ROWS, *storing.ROWS, *living.ROWS)
