"""The bus: a doorbell between nodes.

What rings here may be lost; nothing that has to survive may travel here, and never ciphertext.
"""
