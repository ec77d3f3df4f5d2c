"""The race: the whole gateway against bare pgbench, in one run on one server. `make bench`."""
