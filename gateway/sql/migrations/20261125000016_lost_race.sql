-- migrate:up

SET lock_timeout = '10s';
SET statement_timeout = '60s';

-- Ends a statement that saves a whole tap batch, so that nothing of it stays.
CREATE FUNCTION lost_race() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'another process was first' USING ERRCODE = 'serialization_failure';
END $$;
REVOKE EXECUTE ON FUNCTION lost_race FROM PUBLIC;
GRANT EXECUTE ON FUNCTION lost_race TO faregate_gateway;

-- migrate:down

SET lock_timeout = '10s';
SET statement_timeout = '60s';

DROP FUNCTION lost_race;
