"""The transparency log: device lists are sequenced into a Merkle tree, which is signed; proofs are read from it."""
