"""The fare gateway: taps in, verdicts out, operators paid."""
