-- +goose Up
-- The database makes the ids, in the transaction that writes the row. SQLite does not
-- add a column with a random default: a trigger gives each connection its epoch, and
-- the changes move to a new table.
ALTER TABLE connections ADD COLUMN change_epoch BLOB NOT NULL DEFAULT x''; -- 16 random bytes; another for a connection that is created anew
UPDATE connections SET change_epoch = randomblob(16);
-- +goose StatementBegin
CREATE TRIGGER connections_change_epoch AFTER INSERT ON connections BEGIN
    UPDATE connections SET change_epoch = randomblob(16) WHERE name = NEW.name;
END;
-- +goose StatementEnd

CREATE TABLE changes_with_ids (
    connection TEXT NOT NULL REFERENCES connections (name) ON DELETE CASCADE,
    seq        INTEGER NOT NULL,
    resource   BLOB NOT NULL, -- sigmasource.v1.Change
    id         BLOB NOT NULL DEFAULT (randomblob(16)), -- 16 random bytes
    PRIMARY KEY (connection, seq)
) WITHOUT ROWID;
INSERT INTO changes_with_ids (connection, seq, resource) SELECT connection, seq, resource FROM changes;
DROP TABLE changes;
ALTER TABLE changes_with_ids RENAME TO changes;
