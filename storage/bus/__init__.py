"""The bus between nodes. It works as a doorbell: an event may be lost, and then something comes later.

Whatever has to survive is in Postgres, and ciphertext never travels here.
"""
