-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- Of a day whose taps and entries are in the archive: when they went there, the SHA-256 of the manifest that
-- was written with them, and the newest settlement day among its entries.
ALTER TABLE log_day
ADD COLUMN archived_at timestamptz,
ADD COLUMN manifest_sha256 text,
ADD COLUMN settled_through date;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

ALTER TABLE log_day
DROP COLUMN archived_at,
DROP COLUMN manifest_sha256,
DROP COLUMN settled_through;
