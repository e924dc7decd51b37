"""Where contexts wait between upload and build, and what is found in them before a machine is asked for.

May import values only.
"""
