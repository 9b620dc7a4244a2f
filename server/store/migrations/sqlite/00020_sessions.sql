-- +goose Up
CREATE TABLE sessions (
    name        TEXT PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE, -- the name's last part; what the session keeps elsewhere is found by it
    connection  TEXT NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    state       INTEGER NOT NULL,     -- sigmasource.v1.ReadSessionState
    expire_time INTEGER NOT NULL,     -- Unix time in milliseconds, as below
    lease_time  INTEGER NOT NULL,     -- until when a running session is looked after
    resource    BLOB NOT NULL,        -- sigmasource.v1.ReadSession
    manifest    BLOB NOT NULL,        -- how to find the rows: the reader's own record
    sealed_key  BLOB NOT NULL         -- of what is kept elsewhere, bound to the name
);
CREATE INDEX sessions_by_connection ON sessions (connection);
CREATE INDEX sessions_by_expiry ON sessions (expire_time);

CREATE TABLE session_parts (
    session    TEXT NOT NULL REFERENCES sessions (name) ON DELETE CASCADE,
    part       INTEGER NOT NULL,
    row_count  INTEGER NOT NULL,
    byte_count INTEGER NOT NULL,
    PRIMARY KEY (session, part)
) WITHOUT ROWID;
