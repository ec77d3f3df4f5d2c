"""What keeps a back-test from starting, with its remedy."""


class BacktestFault(Exception):
    """Taps that cannot be read, or tariffs that cannot be compared."""

    def __init__(self, place: str, message: str, remedy: str) -> None:
        super().__init__(f"{place}: {message}. {remedy}")
