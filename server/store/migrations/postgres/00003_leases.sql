-- +goose Up
ALTER TABLE scans ADD COLUMN run BIGINT NOT NULL DEFAULT 0; -- how often it was taken up
ALTER TABLE scans ADD COLUMN lease BIGINT NOT NULL DEFAULT 0; -- until when somebody keeps it, in milliseconds since 1970 by the database's clock; negative: until when it is asked for
ALTER TABLE scans ADD COLUMN cancel INTEGER NOT NULL DEFAULT 0; -- 1: it is to end
ALTER TABLE scans ADD COLUMN first_seq BIGINT NOT NULL DEFAULT 0; -- the connection's change_seq when it was asked for
CREATE INDEX scans_by_lease ON scans (ABS(lease)) WHERE state = 1;
ALTER TABLE workbooks ADD COLUMN scan TEXT NOT NULL DEFAULT ''; -- that last read the contents
ALTER TABLE connections ADD COLUMN next_scan BIGINT NOT NULL DEFAULT 0; -- when it is to be scanned, in milliseconds since 1970; 0: never
CREATE INDEX connections_due ON connections (next_scan) WHERE next_scan > 0;
