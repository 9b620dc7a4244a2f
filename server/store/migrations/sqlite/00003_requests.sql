-- +goose Up
-- What a caller's request id stands for. The hash is sealed, bound to the name:
-- the request had secrets in it.
ALTER TABLE connections ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
ALTER TABLE connections ADD COLUMN request_hash BLOB NOT NULL DEFAULT x'';
CREATE UNIQUE INDEX connections_by_request ON connections (workspace, request_id) WHERE request_id <> '';
