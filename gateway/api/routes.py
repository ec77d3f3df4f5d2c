"""One table of everything that can be asked."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from fare_rules import TariffBook
from gateway.api.bank import BankRequests
from gateway.api.campaigns import CampaignReport, CampaignRequests
from gateway.api.city import CityRequests, IssuedKeys
from gateway.api.corrections import CorrectionRequests, Corrections, CorrectionView
from gateway.api.deliveries import DeliveryRequests, Receipt
from gateway.api.disruptions import DisruptionRequests, Disruptions
from gateway.api.envelopes import (
    DrawList,
    DrawWish,
    EnvelopeRequests,
    EnvelopesLeft,
    Registered,
    Registrations,
)
from gateway.api.fares import FareRequests, Tariffs
from gateway.api.gates import GateRequests, Gates
from gateway.api.given import Done, Given
from gateway.api.grants import GrantRequests, GrantTrace, ReturnWish, WalletGrant
from gateway.api.riders import Erased, RiderRequests
from gateway.api.service import ServiceRequests, State
from gateway.api.settlements import CloseWish, HoldWish, SettlementRequests
from gateway.api.stream import StreamRequests
from gateway.api.taps import Charges, ChargesWish, TapRequests, TapsForAPerson
from gateway.api.wallets import (
    AutoTopUpWish,
    ClassWish,
    Statement,
    TopUpReceipt,
    WalletRequests,
)
from gateway.core.correction_wishes import CorrectionWish
from gateway.core.delivery import Channel, Delivery
from gateway.core.disruptions import DisruptionWish
from gateway.core.envelopes import Draw, EnvelopeCampaign
from gateway.core.purse_desk import GrantMoney, Transfer
from gateway.core.registry import Role
from gateway.core.settlement import Settlement
from gateway.core.signed_books import PublicKey
from gateway.core.taps import Name, Tap, TapResult
from gateway.core.wallet_wishes import ActivateCoupon, BindMedia, OpenWallet, TopUp, WalletView
from gateway.envelope_path import EnvelopeReport
from gateway.fares_path import Explanation, Quotation, QuoteWish
from gateway.purse_path import Returned
from gateway.reconcile_path import Reconciliation
from gateway.registry_path import City, KeyWish
from gateway.rider_path import JourneyView, MediaProgress, WalletExport
from gateway.shell.bank_store import Imported
from gateway.shell.batcher import Batcher
from gateway.shell.campaign_store import CampaignState
from gateway.shell.correction_store import Correction
from gateway.shell.disruption_store import Declared
from gateway.shell.held_store import HeldReport
from gateway.shell.openapi import openapi_document
from gateway.shell.payout_store import PayoutHold
from gateway.shell.settings import DatabaseUrl, Settings
from gateway.shell.settlement_store import SettlementHead
from gateway.shell.web import Door, Route

VERSION = importlib.metadata.version("faregate")


class Api:
    """All that one running gateway can be asked."""

    def __init__(
        self,
        door: Door,
        dsn: str,
        pool: asyncpg.Pool,
        long_pool: asyncpg.Pool,
        batcher: Batcher,
        book: TariffBook,
        settings: Settings,
        master_key: bytes,
    ) -> None:
        self.door = door
        self.pool = pool
        self.batcher = batcher
        self.book = book
        self.settings = settings
        door.is_full = lambda: batcher.is_full
        given = Given(door, DatabaseUrl(dsn), pool, long_pool, batcher, book, settings, master_key)
        service = ServiceRequests(given, VERSION)
        self.routes = _routes(given, service)
        service.openapi = msgspec.json.encode(openapi_document(self.routes, VERSION))


def _routes(given: Given, service: ServiceRequests) -> list[Route]:
    taps, fares, city = TapRequests(given), FareRequests(given), CityRequests(given)
    fleet = GateRequests(given)
    wallets, settlements = WalletRequests(given), SettlementRequests(given)
    campaigns, riders = CampaignRequests(given), RiderRequests(given)
    deliveries, bank = DeliveryRequests(given), BankRequests(given)
    grants, envelopes = GrantRequests(given), EnvelopeRequests(given)
    corrections = CorrectionRequests(given)
    correction = "/v1/corrections/{correction_id}"
    disruptions = DisruptionRequests(given)
    envelope_campaign = "/v1/envelope-campaigns/{campaign_id}"
    streams = StreamRequests(given, taps)
    admin = frozenset({Role.ADMIN})
    gates = admin | {Role.GATE_OPERATOR}
    money = admin | {Role.FINANCE}
    money_readers = money | {Role.AUDITOR}
    makers = admin | {Role.DESK}
    checkers = admin | {Role.CHECKER}
    everyone = frozenset(Role)
    wallet = "/v1/wallets/{wallet_id}"
    media = wallet + "/media/{media_token}"

    def route(
        method: str,
        path: str,
        handler: Any,
        summary: str,
        answers: Mapping[int, Any],
        roles: frozenset[Role] = frozenset(),
        **more: Any,
    ) -> Route:
        tag = path.split("/")[2] if path.startswith("/v1/") else "service"
        return Route(method, path, handler, summary, tag, roles, answers=answers, **more)

    return [
        route("POST", "/v1/taps", taps.accept_taps, "Post one tap, or an array of taps.",
              {200: TapResult | list[TapResult]}, is_signed=True, body=Tap | list[Tap],
              takes_taps=taps.take_taps),
        route("GET", "/v1/stream", streams.open_stream,
              "Open a WebSocket on which a gate posts taps; gateway/STREAM.md has the protocol.",
              {101: None}, is_signed=True),
        route("GET", "/v1/taps/{tap_id}", taps.get_tap, "Ask what became of a tap.",
              {200: TapResult}, money_readers | gates, is_signed=True),
        route("GET", "/v1/taps", taps.list_taps,
              "List the taps that a person must look at: incomplete or without a price.",
              {200: TapsForAPerson}, money_readers | gates, query={"after": UUID}),
        route("GET", "/v1/taps/{tap_id}/explanation", taps.explain_tap,
              "Tell step by step what a tap costs.", {200: Explanation}, money_readers | gates),
        route("POST", "/v1/quotes", fares.quote, "Price a journey before travel.",
              {200: Quotation}, money_readers, body=QuoteWish),
        route("POST", "/v1/charges", taps.list_charges, "Ask what taps have come to by now.",
              {200: Charges}, money_readers, body=ChargesWish),
        route("POST", "/v1/registry", city.accept_city,
              "Register operators, stops, routes and gates.", {200: Done}, gates, body=City),
        route("GET", "/v1/gates", fleet.list_gates,
              "Show of each gate what it sent on a service day, and what seems to be missing.",
              {200: Gates}, gates | {Role.AUDITOR},
              query={"day": date, "operator": Name, "after": Name}),
        route("POST", "/v1/gate-keys", city.accept_gate_keys, "Issue a signing key to each gate.",
              {201: IssuedKeys}, gates, body=KeyWish),
        route("DELETE", "/v1/gate-keys/{key_id}", city.revoke_gate_key, "Revoke a gate's key.",
              {200: Done}, gates),
        route("POST", "/v1/wallets", wallets.accept_wallets,
              "Open wallets, with their first media and money.",
              {200: Done}, money, body=list[OpenWallet]),
        route("GET", wallet, wallets.get_wallet, "Show a wallet.",
              {200: WalletView}, money_readers),
        route("GET", wallet + "/entries", wallets.get_statement, "Show a wallet's newest entries.",
              {200: Statement}, money_readers),
        route("POST", wallet + "/top-ups", wallets.accept_top_up, "Pay money in.",
              {200: TopUpReceipt}, money, body=TopUp),
        route("POST", wallet + "/media", wallets.bind_media,
              "Let a card or phone pay from a wallet.", {200: Done}, money, body=BindMedia),
        route("DELETE", media, wallets.unbind_media, "Unbind a card or phone.", {200: Done}, money),
        route("POST", media + "/block", wallets.block_media, "Block a card.", {200: Done}, money),
        route("POST", media + "/unblock", wallets.unblock_media, "Unblock a card.",
              {200: Done}, money),
        route("POST", media + "/coupons", wallets.activate_coupon,
              "Activate a promotion's coupon with a card or phone.", {200: Done}, money,
              body=ActivateCoupon),
        route("PUT", wallet + "/class", wallets.set_class, "Put a wallet into a class.",
              {200: WalletView}, money, body=ClassWish),
        route("PUT", wallet + "/auto-top-up", wallets.set_auto_top_up,
              "Top up by itself once a day, when little is left.", {200: WalletView}, money,
              body=AutoTopUpWish),
        route("DELETE", wallet + "/auto-top-up", wallets.end_auto_top_up,
              "Top up by itself no more.", {200: WalletView}, money),
        route("POST", wallet + "/verifications", wallets.verify_wallet,
              "Note that a wallet was seen with a network.", {200: WalletView}, money),
        route("POST", wallet + "/transfers", wallets.accept_transfer,
              "Move money between a parent and its child.", {200: WalletView}, money,
              body=Transfer),
        route("POST", wallet + "/grants", grants.grant_money,
              "Grant money for a purpose.", {200: WalletView}, money, body=GrantMoney),
        route("POST", "/v1/grants", grants.accept_grants,
              "Grant money for a purpose to many wallets.", {200: Done}, money,
              body=list[WalletGrant]),
        route("GET", "/v1/grants/{grant_id}", grants.get_grant,
              "Trace a grant: every entry that moved money of it.", {200: GrantTrace},
              money_readers),
        route("POST", "/v1/grants/{grant_id}/return", grants.return_grant,
              "Give what is left of a grant back to its funder.", {200: Done}, money),
        route("POST", "/v1/purse-rules/{rule_id}/returns", grants.return_rule,
              "Give back what is left of all grants of a rule, when its service stops.",
              {200: Returned}, money, body=ReturnWish),
        route("POST", "/v1/envelope-campaigns", envelopes.announce,
              "Announce a campaign of red envelopes.", {200: Done}, money, body=EnvelopeCampaign),
        route("GET", envelope_campaign, envelopes.get_report,
              "Show how far a campaign of red envelopes has come.", {200: EnvelopeReport},
              money_readers),
        route("POST", envelope_campaign + "/registrations", envelopes.register,
              "Register wallets for a draw.", {200: Registered}, money, body=Registrations),
        route("POST", envelope_campaign + "/draw", envelopes.draw,
              "Draw the envelopes with the promised seed.", {200: Draw}, money, body=DrawWish),
        route("POST", envelope_campaign + "/grants", envelopes.grant,
              "Grant envelopes that were drawn.", {200: EnvelopesLeft}, money),
        route("GET", envelope_campaign + "/list", envelopes.get_list,
              "Show the tickets and the winners, for anyone to draw again.", {200: DrawList},
              everyone),
        route("POST", "/v1/corrections", corrections.propose_correction,
              "Put a ride or money right; much of it waits for a second person.",
              {200: Correction}, makers, body=CorrectionWish),
        route("GET", "/v1/corrections", corrections.list_corrections, "List the corrections.",
              {200: Corrections}, makers | checkers | money_readers, query={"after": UUID}),
        route("GET", correction, corrections.get_correction, "Show a correction and its entries.",
              {200: CorrectionView}, makers | checkers | money_readers),
        route("POST", correction + "/approve", corrections.approve_correction,
              "Agree to another person's correction.", {200: Correction}, checkers),
        route("POST", correction + "/reject", corrections.reject_correction, "Reject a correction.",
              {200: Correction}, checkers),
        route("POST", "/v1/disruptions", disruptions.declare_disruption,
              "Declare hours at stops in which rides with one end are put right.",
              {200: Declared}, makers, body=DisruptionWish),
        route("GET", "/v1/disruptions", disruptions.list_disruptions, "List the disruptions.",
              {200: Disruptions}, makers | checkers | money_readers),
        route("POST", "/v1/disruptions/{disruption_id}/approve", disruptions.approve_disruption,
              "Agree to a disruption that another person declared.", {200: Declared}, checkers),
        route("GET", wallet + "/journeys", riders.get_journeys,
              "Show a wallet's newest journeys, and who paid for them.",
              {200: list[JourneyView]}, money_readers),
        route("GET", wallet + "/progress", riders.get_progress,
              "Say how much is left until free travel.", {200: list[MediaProgress]},
              money_readers),
        route("GET", wallet + "/export", riders.export,
              "Export everything that is kept of a wallet.", {200: WalletExport}, money),
        route("POST", wallet + "/erase", riders.erase,
              "Forget the cards of a closed wallet, and tell nobody of its journeys.",
              {200: Erased}, money),
        route("GET", "/v1/held", riders.get_held,
              "Show what is held for riders, how old it is, and where the money lies.",
              {200: HeldReport}, money_readers),
        route("POST", wallet + "/block", wallets.block_wallet, "Block a wallet.",
              {200: WalletView}, money),
        route("POST", wallet + "/unblock", wallets.unblock_wallet, "Unblock a wallet.",
              {200: WalletView}, money),
        route("POST", wallet + "/close", wallets.close_wallet,
              "Close a wallet and pay its balance out.", {200: WalletView}, money),
        route("POST", "/v1/settlements", settlements.accept_close,
              "Close everything up to a service day; closing twice changes nothing.",
              {200: Settlement}, money, body=CloseWish),
        route("GET", "/v1/settlements", settlements.list_settlements, "List the settlements.",
              {200: list[Settlement]}, money_readers),
        route("PUT", "/v1/operators/{operator_id}/delivery", deliveries.set_channel,
              "Say where an operator's settlement files go.", {200: Done},
              admin, body=Channel),
        route("GET", "/v1/deliveries", deliveries.list_deliveries,
              "List the newest deliveries and how they stand.", {200: list[Delivery]},
              money_readers | gates),
        route("GET", "/v1/settlements/{service_day}/deliveries", deliveries.list_of_day,
              "List a settlement's deliveries.", {200: list[Delivery]}, money_readers | gates),
        route("POST", "/v1/deliveries/{delivery_id}/retries", deliveries.retry,
              "Try a delivery again at once, also one that was given up.", {200: Done}, money),
        route("POST", "/v1/deliveries/{delivery_id}/acknowledgements", deliveries.acknowledge,
              "Say that files were received.", {200: Done}, money | gates, body=Receipt),
        route("GET", "/v1/campaigns", campaigns.list_campaigns,
              "Show each campaign's budget: left, spent, reversed, invoiced.",
              {200: list[CampaignState]}, money_readers),
        route("GET", "/v1/campaigns/{sponsor_id}/{campaign_id}", campaigns.get_campaign,
              "Show a campaign day by day.", {200: CampaignReport}, money_readers),
        route("POST", "/v1/bank-files", bank.import_file,
              "Take in a pain.002, camt.053 or camt.054.", {200: Imported}, money,
              body="application/xml"),
        route("GET", "/v1/reconciliations/{service_day}", bank.reconcile,
              "Hold taps, ledger and bank of a settlement against each other.",
              {200: Reconciliation}, money_readers),
        route("POST", "/v1/payout-holds", settlements.hold_payout,
              "Keep an operator's payout back.", {200: PayoutHold}, money, body=HoldWish),
        route("POST", "/v1/payout-holds/{hold_id}/release", settlements.release_payout,
              "Let a payout go; not by the one who holds it.", {200: PayoutHold}, money),
        route("GET", "/v1/payout-holds", settlements.list_payout_holds,
              "List the payouts that were kept back.", {200: list[PayoutHold]}, money_readers),
        route("GET", "/v1/settlements/head", settlements.get_head,
              "Show the newest settlement's hash, which all earlier ones lead to.",
              {200: SettlementHead}, everyone),
        route("GET", "/v1/signing-keys", settlements.list_keys,
              "List the public keys that settlements are signed with.", {200: list[PublicKey]},
              is_public=True),
        route("GET", "/v1/settlements/{service_day}/operators/{operator_id}/files/{name}",
              settlements.get_operator_file, "Fetch one of an operator's own files.",
              {200: "application/octet-stream"}, money_readers | gates),
        route("GET", "/v1/trips/{service_day}/operators/{operator_id}/files/{name}",
              settlements.get_trips_file,
              "Fetch an operator's trips of a day, once they are exported.",
              {200: "application/octet-stream"}, money_readers | gates),
        route("GET", "/v1/settlements/{service_day}/files/{name}", settlements.get_settlement_file,
              "Fetch one settlement file.", {200: "application/octet-stream"}, money_readers),
        route("GET", "/v1/tariffs", fares.get_tariffs, "Show the tariffs in force.",
              {200: Tariffs}, everyone),
        route("GET", "/livez", service.get_livez, "Is the process alive?",
              {200: State}, is_public=True),
        route("GET", "/readyz", service.get_readyz, "Can it answer taps?",
              {200: State}, is_public=True),
        route("GET", "/version", service.get_version, "What runs here?",
              {200: dict[str, str]}, is_public=True),
        route("GET", "/metrics", service.get_metrics, "Metrics for Prometheus.",
              {200: "text/plain"}, everyone, is_public=given.settings.metrics_public),
        route("GET", "/openapi.json", service.get_openapi, "This document.",
              {200: dict[str, Any]}, is_public=True),
        route("GET", "/docs", service.get_docs, "This document, for people.",
              {200: "text/html"}, is_public=True),
        route("GET", "/docs/{name}", service.get_docs_part, "Parts of that page.",
              {200: "text/html"}, is_public=True),
    ]  # fmt: skip
