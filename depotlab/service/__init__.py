"""Builds for others: uploads, a queue, Depot projects, logs and telemetry.

May import `_verbs`, `telemetry`, `_serving`, `_portal` and what is below them. Needs the extra `service`.
"""
