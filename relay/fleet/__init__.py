"""One node among others: events to and from the bus, and what to do when the bus has lost some."""
