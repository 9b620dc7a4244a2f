-- +goose Up
-- The database makes the ids, so that a replica of an earlier version, which does not
-- know them, writes them as well. Both statements write every row of their table once,
-- with an id of its own.
ALTER TABLE connections ADD COLUMN change_epoch BYTEA NOT NULL DEFAULT uuid_send(gen_random_uuid()); -- 16 random bytes; another for a connection that is created anew
ALTER TABLE changes ADD COLUMN id BYTEA NOT NULL DEFAULT uuid_send(gen_random_uuid()); -- 16 random bytes
