"""A service on a port: who calls is checked, and plain JSON, Connect and gRPC become calls of its verbs.

May import `_access` and what is below it. It is given a `Core`, whose file it imports for types only.
"""
