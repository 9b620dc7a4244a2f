-- +goose Up
-- What models and workbooks are found by, apart from them: a search passes over
-- many rows, which have to be short. A Go migration fills these tables.
CREATE TABLE catalogs (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection TEXT NOT NULL UNIQUE REFERENCES connections (name) ON DELETE CASCADE
);

CREATE TABLE entries (
    id                 BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    catalog            BIGINT NOT NULL REFERENCES catalogs (id) ON DELETE CASCADE,
    list               INTEGER NOT NULL, -- 1: workbooks, 2: models
    gone               INTEGER NOT NULL, -- 1: no longer in Sigma
    name               TEXT NOT NULL UNIQUE,
    workbook           TEXT NOT NULL, -- the resource name of the model's workbook; of a workbook its own
    path_key           BYTEA NOT NULL, -- what the list is ordered by of itself
    title              TEXT COLLATE "C" NOT NULL, -- the words of the display name
    update_time        BYTEA NOT NULL, -- of the workbook; orders as the time does
    size               INTEGER NOT NULL, -- columns of a model, models of a workbook
    folder             TEXT NOT NULL,
    owner              TEXT NOT NULL,
    state              INTEGER NOT NULL, -- sigmasource.v1.ModelState
    document_kind      INTEGER NOT NULL, -- sigmasource.v1.DocumentKind
    element_type       TEXT NOT NULL,
    visualization_type TEXT NOT NULL,
    tags               TEXT NOT NULL, -- each between separators, as labels and findings are
    findings           TEXT NOT NULL, -- sigmasource.v1.FindingCode
    labels             TEXT NOT NULL,
    place_words        TEXT NOT NULL, -- of the path, and of the workbook's display name
    column_words       TEXT NOT NULL,
    marks              TEXT NOT NULL, -- of the terms that are no words; empty if they are too many
    terms              TSVECTOR NOT NULL
);
CREATE INDEX entries_of_workbook ON entries (workbook);
-- An index for each order, with what a walk along it need know to pass most by.
CREATE INDEX entries_by_path ON entries (catalog, list, gone, path_key, id) INCLUDE (marks);
CREATE INDEX entries_by_title ON entries (catalog, list, gone, title, id) INCLUDE (marks);
CREATE INDEX entries_by_time ON entries (catalog, list, gone, update_time, id) INCLUDE (marks);
CREATE INDEX entries_by_size ON entries (catalog, list, gone, size, id) INCLUDE (marks);
-- A list of what is yet to be sorted in would be read by every search.
CREATE INDEX entries_by_term ON entries USING gin (terms) WITH (fastupdate = off);

-- The terms of each catalog, and how many entries have them.
CREATE TABLE terms (
    catalog BIGINT NOT NULL REFERENCES catalogs (id) ON DELETE CASCADE,
    kind    TEXT COLLATE "C" NOT NULL,
    term    TEXT COLLATE "C" NOT NULL,
    entries BIGINT NOT NULL,
    PRIMARY KEY (catalog, kind, term)
);

-- The entries have taken their place.
DROP INDEX workbooks_in_order;
DROP INDEX models_in_order;
