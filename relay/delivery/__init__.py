"""From a stored message to its listeners: hub, journal, mailbox, receipts, presence. No sockets."""
