"""What builds did: rows of builds, steps and logs, where they are kept, and tables and plots of them.

May import `progress`, `_local`, `_values` and `errors`.
"""
