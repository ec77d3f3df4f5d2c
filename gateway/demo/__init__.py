"""A day in the life of a gateway: `make demo`."""
