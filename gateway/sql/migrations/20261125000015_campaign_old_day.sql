-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- What a campaign paid for rides of a day whose entries are in the archive. All of it is settled and invoiced.
CREATE TABLE campaign_old_day (
    account text NOT NULL REFERENCES campaign,
    service_day date NOT NULL REFERENCES log_day,
    entries_count bigint NOT NULL,
    spent_fen bigint NOT NULL,
    reversed_fen bigint NOT NULL,
    PRIMARY KEY (account, service_day)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON campaign_old_day
FOR EACH STATEMENT EXECUTE FUNCTION refuse_edit();

GRANT SELECT ON campaign_old_day TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP TABLE campaign_old_day;
