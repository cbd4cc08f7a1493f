"""What operators see of any server program: its metrics, its log lines, its traces and its reports of errors.

Nothing here knows what a program does, and nothing here ever holds an id, an address, a token or ciphertext.
"""
