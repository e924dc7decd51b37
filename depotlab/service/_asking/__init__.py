"""What callers do wherever the service is: ask what may be asked, pack contexts, read logs, hold tokens.

May import values only.
"""
