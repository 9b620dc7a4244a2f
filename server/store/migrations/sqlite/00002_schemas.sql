-- +goose Up
CREATE TABLE schemas (
    connection  TEXT NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    model       TEXT NOT NULL, -- need not have been seen by a scan
    fingerprint TEXT NOT NULL,
    resource    BLOB NOT NULL, -- sigmasource.v1.Schema
    PRIMARY KEY (model, fingerprint)
);
CREATE INDEX schemas_by_connection ON schemas (connection);
