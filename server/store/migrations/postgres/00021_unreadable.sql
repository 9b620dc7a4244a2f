-- +goose Up
-- The models that cannot be read, in the order of the list: few of many, and what
-- people look for. Workbooks, which have no state, are in it too: a condition on the
-- list would have to stand in each question as a constant.
CREATE INDEX entries_unreadable ON entries (catalog, list, gone, path_key, id) INCLUDE (marks) WHERE state <> 1;
