"""`depotlab serve`: the command, and the file that tells it what a service is made of.

May import every room but `_remote`; `aio` and this one do not know each other.
"""
