"""TLS of our own servers and of the lines between them: a core without I/O, and certificates that are read again.

The SDK is a client of libraries and does without it. Nothing here opens a socket.
"""
