"""Why builds fail, in words for the customer, and texts without secrets.

May import values only.
"""
