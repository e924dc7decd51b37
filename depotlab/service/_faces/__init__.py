"""A service of this process as users hold it: to call from anywhere, and to await.

May import `_http`, `_core`, `_access` and the rooms of values, settings and questions below them.
"""
