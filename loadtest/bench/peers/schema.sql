-- What the gateway is raced against: one idempotent, durable, double-entry debit a transaction, as a careful team
-- would first write it. Loaded into the gateway's own database, so server, settings and disk are the same.
CREATE SCHEMA peer;
CREATE TABLE peer.wallet (
    wallet_id bigint PRIMARY KEY,
    balance bigint NOT NULL CHECK (balance >= 0),
    version int NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE TABLE peer.tap (
    gate_id int,
    sequence bigint,
    wallet_id bigint NOT NULL,
    amount bigint NOT NULL,
    recorded_at timestamptz DEFAULT now(),
    PRIMARY KEY (gate_id, sequence)
);
CREATE TABLE peer.posting (
    posting_id bigint GENERATED ALWAYS AS IDENTITY,
    account bigint NOT NULL,
    amount bigint NOT NULL,
    gate_id int,
    sequence bigint,
    recorded_at timestamptz DEFAULT now()
);

-- The new balance; -1 where the wallet lacks the money, NULL for a repeat. Both leave no postings.
CREATE FUNCTION peer.debit(in_gate int, in_sequence bigint, in_wallet bigint, in_amount bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE left_over bigint;
BEGIN
    INSERT INTO peer.tap (gate_id, sequence, wallet_id, amount)
    VALUES (in_gate, in_sequence, in_wallet, in_amount) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE peer.wallet SET balance = balance - in_amount, version = version + 1
    WHERE wallet_id = in_wallet AND balance >= in_amount
    RETURNING balance INTO left_over;
    IF NOT FOUND THEN
        RETURN -1;
    END IF;
    INSERT INTO peer.posting (account, amount, gate_id, sequence)
    VALUES (in_wallet, -in_amount, in_gate, in_sequence), (-(in_gate % 8) - 1, in_amount, in_gate, in_sequence);
    RETURN left_over;
END $$;
