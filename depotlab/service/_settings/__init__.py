"""What a service is told when it is made: where it builds, where images go, how much it takes on.

May import nothing of the service.
"""
