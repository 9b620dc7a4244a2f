-- +goose Up
CREATE TABLE connections (
    name         TEXT PRIMARY KEY, -- workspaces/{workspace}/connections/{connection}
    workspace    TEXT NOT NULL,    -- workspaces/{workspace}
    sort_key     BYTEA NOT NULL,   -- name
    etag         TEXT NOT NULL,
    resource     BYTEA NOT NULL,   -- sigmasource.v1.Connection, without secrets
    secrets      BYTEA NOT NULL,   -- sealed, bound to the name
    request_id   TEXT NOT NULL DEFAULT '',
    request_hash BYTEA NOT NULL DEFAULT ''::BYTEA -- sealed, bound to the name
);
CREATE UNIQUE INDEX connections_in_order ON connections (workspace, sort_key);
CREATE UNIQUE INDEX connections_by_request ON connections (workspace, request_id) WHERE request_id <> '';

CREATE TABLE scans (
    name       TEXT PRIMARY KEY,
    connection TEXT NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    state      INTEGER NOT NULL, -- sigmasource.v1.ScanState
    resource   BYTEA NOT NULL    -- sigmasource.v1.Scan
);
CREATE INDEX scans_by_connection ON scans (connection);
-- 1 is SCAN_STATE_RUNNING: a connection has at most one scan that runs.
CREATE UNIQUE INDEX scans_running ON scans (connection) WHERE state = 1;

CREATE TABLE workbooks (
    name       TEXT PRIMARY KEY,
    connection TEXT NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    sort_key   BYTEA NOT NULL, -- path, display name, name
    resource   BYTEA NOT NULL  -- sigmasource.v1.Workbook
);
CREATE UNIQUE INDEX workbooks_in_order ON workbooks (connection, sort_key);

CREATE TABLE models (
    name          TEXT PRIMARY KEY,
    connection    TEXT NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    workbook      TEXT NOT NULL REFERENCES workbooks (name) ON DELETE CASCADE,
    sort_key      BYTEA NOT NULL, -- path, workbook's display name and id, display name, name
    resource      BYTEA NOT NULL, -- sigmasource.v1.Model, without columns
    model_columns BYTEA NOT NULL  -- sigmasource.v1.Model, only columns
);
CREATE UNIQUE INDEX models_in_order ON models (connection, sort_key);
CREATE UNIQUE INDEX models_of_workbook ON models (workbook, connection, sort_key);

CREATE TABLE schemas (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection  TEXT NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    model       TEXT NOT NULL, -- need not have been seen by a scan
    fingerprint TEXT NOT NULL,
    resource    BYTEA NOT NULL, -- sigmasource.v1.Schema
    UNIQUE (model, fingerprint)
);
CREATE INDEX schemas_by_connection ON schemas (connection);
