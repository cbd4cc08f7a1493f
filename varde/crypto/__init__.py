"""End-to-end encryption. Refuses the network and the screen: bytes in, bytes out, ratchets in the store."""
