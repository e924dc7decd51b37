"""One try of a build at Depot: its context is looked at, its project found, and a machine builds and pushes.

May import `_asking`, `_reasons`, `_settings` and values.
"""
