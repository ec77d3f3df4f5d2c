"""Who uses a gateway: gates, buses at night, and people at desks. One class each.

gates.py        GateLine: one signed tap a request
night_buses.py  NightBus: what a depot's buses stored, a hundred taps a request
desks.py        Desk: statements, taps and top-ups for a person who asks
signed.py       how taps are signed, sent again until answered, and recorded
"""
