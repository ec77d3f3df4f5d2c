"""A person at a desk of the operator's back office."""

import random
from uuid import uuid4

from locust import FastHttpUser, constant_throughput, task

from loadtest.records import TOP_UP
from loadtest.users.signed import Played


class Desk(FastHttpUser):
    """Looks up what riders ask about, and takes their money. Needs a token of the role finance."""

    wait_time = constant_throughput(2)
    connection_timeout = 10
    network_timeout = 15

    def on_start(self) -> None:
        self._headers = {
            "Authorization": f"Bearer {Played.token}",
            "Content-Type": "application/json",
        }

    @task(4)
    def read_statement(self) -> None:
        self._get(f"/v1/wallets/{self._wallet_id()}/entries", "desk: statement")

    @task(3)
    def look_up_tap(self) -> None:
        tap_id = Played.feed.last_tap_id
        if tap_id is None:
            return
        with self.client.get(
            f"/v1/taps/{tap_id}", headers=self._headers, name="desk: tap", catch_response=True
        ) as response:
            # The tap may still be on its way.
            if response.status_code == 404:
                response.success()

    @task(2)
    def top_up(self) -> None:
        wallet_id, top_up_id, amount_fen = self._wallet_id(), uuid4(), random.choice((2000, 5000))
        body = {"top_up_id": str(top_up_id), "amount_fen": amount_fen}
        with self.client.post(
            f"/v1/wallets/{wallet_id}/top-ups",
            json=body,
            headers=self._headers,
            name="desk: top-up",
            catch_response=True,
        ) as response:
            if response.status_code == 200:
                Played.recorder.write(TOP_UP, top_up_id, amount_fen, wallet_id)

    @task(1)
    def list_settlements(self) -> None:
        self._get("/v1/settlements", "desk: settlements")

    def _get(self, path: str, name: str) -> None:
        self.client.get(path, headers=self._headers, name=name)

    def _wallet_id(self) -> str:
        city = Played.feed.city
        return str(city.wallet_id(random.choice(city.own_riders)))
