"""All SQL of the audit, so that a change of the tables is a change here alone.

Each query counts what must not be; 0 is a pass.
"""

# What the clients recorded, to compare with: one row per answer heard.
HEARD_TABLE = """
    CREATE TEMPORARY TABLE heard (kind text, id uuid, answer text, wallet_id uuid)
"""
HEARD_COLUMNS = ("kind", "id", "answer", "wallet_id")

ANSWERED_TWICE_DIFFERENTLY = """
    SELECT count(*) FROM (
        SELECT id FROM heard GROUP BY kind, id HAVING count(DISTINCT answer) > 1
    ) AS differing
"""
TAPS_NOT_EXACTLY_ONCE = """
    SELECT count(*) FROM (
        SELECT heard.id
        FROM (SELECT DISTINCT id FROM heard WHERE kind = 'tap') AS heard
        LEFT JOIN tap ON tap.tap_id = heard.id
        GROUP BY heard.id HAVING count(tap.tap_id) <> 1
    ) AS wrong
"""
TAPS_WITH_ANOTHER_OUTCOME = """
    SELECT count(*) FROM heard JOIN tap ON tap.tap_id = heard.id
    WHERE heard.kind = 'tap' AND tap.outcome <> heard.answer
"""
TAPS_LOGGED_TWICE = """
    SELECT count(*) FROM (SELECT tap_id FROM tap GROUP BY tap_id HAVING count(*) > 1) AS twice
"""
TOP_UPS_NOT_EXACTLY_ONCE = """
    SELECT count(*) FROM (
        SELECT heard.id, heard.answer, heard.wallet_id
        FROM (SELECT DISTINCT id, answer, wallet_id FROM heard WHERE kind = 'top_up') AS heard
        LEFT JOIN posting
            ON posting.kind = 'top_up' AND posting.account = 'bank'
            AND posting.cause_id = heard.id AND posting.wallet_id = heard.wallet_id
        GROUP BY heard.id, heard.answer, heard.wallet_id
        HAVING count(posting.amount_fen) <> 1 OR sum(posting.amount_fen) <> -heard.answer::bigint
    ) AS wrong
"""
ENTRIES_NOT_ZERO = """
    SELECT count(*) FROM (
        SELECT FROM posting GROUP BY wallet_id, wallet_version, service_day
        HAVING sum(amount_fen) <> 0
    ) AS unbalanced
"""
WALLETS_NOT_THE_SUM_OF_THEIR_ENTRIES = """
    SELECT count(*) FROM wallet
    LEFT JOIN (
        SELECT
            wallet_id,
            sum(amount_fen) FILTER (WHERE account LIKE 'purse:%') AS purse_fen,
            sum(amount_fen) FILTER (WHERE account LIKE 'debt:%') AS debt_fen
        FROM posting GROUP BY wallet_id
    ) AS book USING (wallet_id)
    WHERE wallet.balance_fen <> coalesce(book.purse_fen, 0)
        OR wallet.owed_fen <> -coalesce(book.debt_fen, 0)
"""
REFUSED_BUT_CHARGED = """
    SELECT count(*) FROM posting JOIN tap USING (tap_id)
    WHERE tap.outcome NOT IN ('leg_opened', 'ride_charged', 'ride_owed', 'double_beep')
"""
TAPS_COUNT = "SELECT count(*) FROM tap"
HEARD_TAPS_COUNT = "SELECT count(DISTINCT id) FROM heard WHERE kind = 'tap'"
HEARD_TOP_UPS_COUNT = "SELECT count(DISTINCT id) FROM heard WHERE kind = 'top_up'"
HEARD_SAMPLE = """
    SELECT id, answer FROM heard WHERE kind = 'tap' ORDER BY id LIMIT $1
"""
WALLET_SAMPLE = """
    SELECT wallet_id, balance_fen, owed_fen FROM wallet
    WHERE version > 1 ORDER BY wallet_id LIMIT $1
"""
