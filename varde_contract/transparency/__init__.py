"""The transparency log on the wire, sans-I/O: Merkle tree, tiles, signed notes, checkpoints, proofs, policies.

The formats are those of C2SP, so that witnesses and monitors of others can work with this log: signed-note v1.0.0,
tlog-checkpoint v1.0.0, tlog-cosignature v1.1.0-rc.1, tlog-tiles, tlog-proof, tlog-policy. docs/transparency.md says
what is logged, and what it proves. What does not hold raises PeerFault.
"""
