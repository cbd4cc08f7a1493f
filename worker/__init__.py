"""The worker, the third server program: jobs that nobody waits for, each done by one worker of many.

It never reads the plaintext of a message, and no client connects to it. It meets `storage` in `__main__` only.
"""
