"""The Noise Protocol Framework, revision 34: a handshake and the transport it ends in, both roles, sans-I/O.

Implemented: curve 25519 with ChaChaPoly or AESGCM and SHA256, SHA512, BLAKE2s or BLAKE2b; the one-way, fundamental and
deferred patterns of sections 7.4 to 7.6; the modifiers psk0 to psk4 (section 9), alone or joined with "+". Not
implemented: curve 448; and beyond it the fallback modifier with the compound protocols built from it (section 10),
dummy keys (11.1), transport messages out of order (11.4), half-duplex (11.5), and the extensions outside the
specification, such as hybrid forward secrecy.

Nothing here is safe to share between threads, and Python cannot erase memory: forgotten keys are only unreferenced.
"""

from varde_contract.errors import NoiseFault, NoiseMisuse
from varde_contract.noise.handshake import Handshake
from varde_contract.noise.keys import KEY_BYTES, PSK_BYTES, KeyPair
from varde_contract.noise.transport import Transport

__all__ = ["KEY_BYTES", "PSK_BYTES", "Handshake", "KeyPair", "NoiseFault", "NoiseMisuse", "Transport"]
