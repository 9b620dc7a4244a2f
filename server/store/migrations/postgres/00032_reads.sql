-- +goose Up
CREATE TABLE reads (
    connection     TEXT NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    model          TEXT NOT NULL, -- need not have been seen by a scan
    limit_policy   TEXT NOT NULL,
    bookmark       TEXT NOT NULL,
    distinct_group INTEGER NOT NULL,
    complete_time  BIGINT NOT NULL, -- milliseconds since 1970
    resource       BYTEA NOT NULL, -- sigmasource.v1.CompletedRead
    PRIMARY KEY (model, limit_policy, bookmark, distinct_group)
);
CREATE INDEX reads_by_connection ON reads (connection);
CREATE INDEX reads_by_time ON reads (complete_time);
