"""The checks of a tariff's meaning, by what they look at; check.py runs them all."""
