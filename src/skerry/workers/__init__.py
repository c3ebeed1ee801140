"""Child processes that are called over a socket and can be replaced."""
