"""From a sent message to its listeners: journal, hub, mailbox, receipts, presence. No sockets."""
