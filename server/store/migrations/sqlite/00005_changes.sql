-- +goose Up
ALTER TABLE connections ADD COLUMN change_seq INTEGER NOT NULL DEFAULT 0; -- of the last change
ALTER TABLE workbooks ADD COLUMN marker TEXT NOT NULL DEFAULT ''; -- tells the contents as last read; empty: read them anew
ALTER TABLE workbooks ADD COLUMN gone INTEGER NOT NULL DEFAULT 0; -- 1: no longer in Sigma
ALTER TABLE models ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;

CREATE TABLE changes (
    connection TEXT NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    seq        INTEGER NOT NULL,
    resource   BLOB NOT NULL, -- sigmasource.v1.Change
    PRIMARY KEY (connection, seq)
) WITHOUT ROWID;

-- Scans are listed by their names, which begin with the time.
DROP INDEX scans_by_connection;
CREATE INDEX scans_by_connection ON scans (connection, name);
