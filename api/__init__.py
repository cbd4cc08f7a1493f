"""The REST API: Quart on Trio, over Hypercorn's HTTP/1.1.

It reads requests, asks the domain, and maps answers. No decision is taken here, and there is no SQL, no WebSocket and
no plaintext of a message. Storage is known in `__main__` alone.
"""
