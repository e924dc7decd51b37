"""The service put together: its parts, its one file, and its verbs on the event loop.

May import `_builds`, `_run`, `_storage` and what is below them.
"""
