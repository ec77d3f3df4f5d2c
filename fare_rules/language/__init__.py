"""The language of a tariff file: every key, its type, its meaning and its default.

The map: `tariff.py` is the file; `places.py`, `products.py`, `discounts.py` and `journeys.py` hold
its sections; `conditions.py` says which legs a rule is for; `scalars.py` how single values are
written. The reference of all keys (REFERENCE.md) and the schema for editors are made from these
types.
"""
