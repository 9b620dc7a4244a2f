-- +goose Up
-- The order in which schemas were given out has a column of its own.
CREATE TABLE ordered_schemas (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    connection  TEXT NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    model       TEXT NOT NULL, -- need not have been seen by a scan
    fingerprint TEXT NOT NULL,
    resource    BLOB NOT NULL, -- sigmasource.v1.Schema
    UNIQUE (model, fingerprint)
);
INSERT INTO ordered_schemas (connection, model, fingerprint, resource)
    SELECT connection, model, fingerprint, resource FROM schemas ORDER BY rowid;
DROP TABLE schemas;
ALTER TABLE ordered_schemas RENAME TO schemas;
CREATE INDEX schemas_by_connection ON schemas (connection);
