"""What a command ends with: ok, problems found, wrong usage, cannot run."""

OK, PROBLEMS_FOUND, USAGE, CANNOT_RUN = 0, 1, 2, 3
