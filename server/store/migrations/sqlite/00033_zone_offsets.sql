-- +goose Up
-- The offsets of dates in Sigma's SQL, by which the organization's time zone is known.
CREATE TABLE zone_offsets (
    connection TEXT PRIMARY KEY REFERENCES connections (name) ON DELETE CASCADE,
    offsets    TEXT NOT NULL -- JSON
);
