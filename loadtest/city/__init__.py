"""A whole city, made from a seed: its places, its riders, and every tap of their days.

The same seed gives the same city and the same taps, byte for byte, on any machine:

places.py   operators, stations, bus routes, gates and buses
riders.py   who rider n is: home, work, way, category and card
hours.py    how many journeys begin in which hour
journeys.py which gates a rider beeps at on one way, and when
days.py     all of that as taps in the order of time
ids.py      the ids of taps, wallets and top-ups
city.py     the city: its registry, its wallets, its days
"""

from loadtest.city.city import City
from loadtest.city.days import CityTap

__all__ = ["City", "CityTap"]
