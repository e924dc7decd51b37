"""Builds from the queue to their end: whose turn it is, tries, logs, and what is kept of them on the disk.

May import `_asking`, `_reasons`, `_settings` and values. What makes a build happen, and what keeps contexts, it is
given: `RunsBuilds` and `Storage` of `_boundary`.
"""
