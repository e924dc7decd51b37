"""Who may do what: bearer tokens, the projects that they are for, and how often they may ask.

May import `_asking` and values.
"""
