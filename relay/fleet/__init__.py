"""One node among others: the bus, peer nodes, and catching up with what moved elsewhere."""
