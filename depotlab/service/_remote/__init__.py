"""A service elsewhere with the verbs of one that is here, asked over HTTP.

May import `_asking`, `_jsonvalues` and values; nothing of a service that is here.
"""
