-- +goose Up
-- What models and workbooks are found by, apart from them: a search passes over
-- many rows, which have to be short. A Go migration fills these tables.
CREATE TABLE catalogs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    connection TEXT NOT NULL UNIQUE REFERENCES connections (name) ON DELETE CASCADE
);

CREATE TABLE entries (
    id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    catalog            INTEGER NOT NULL REFERENCES catalogs (id) ON DELETE CASCADE,
    list               INTEGER NOT NULL, -- 1: workbooks, 2: models
    gone               INTEGER NOT NULL, -- 1: no longer in Sigma
    name               TEXT NOT NULL UNIQUE,
    workbook           TEXT NOT NULL, -- the resource name of the model's workbook; of a workbook its own
    path_key           BLOB NOT NULL, -- what the list is ordered by of itself
    title              TEXT NOT NULL, -- the words of the display name
    update_time        BLOB NOT NULL, -- of the workbook; orders as the time does
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
    marks              TEXT NOT NULL -- of the terms that are no words; empty if they are too many
);
CREATE INDEX entries_of_workbook ON entries (workbook);
-- An index for each order, with what a walk along it need know to pass most by.
CREATE INDEX entries_by_path ON entries (catalog, list, gone, path_key, id, marks);
CREATE INDEX entries_by_title ON entries (catalog, list, gone, title, id, marks);
CREATE INDEX entries_by_time ON entries (catalog, list, gone, update_time, id, marks);
CREATE INDEX entries_by_size ON entries (catalog, list, gone, size, id, marks);

-- Which entries have a term; the row ids are those of entries.
CREATE VIRTUAL TABLE entry_terms USING fts5 (terms, content='', contentless_delete=1, detail=none, tokenize='ascii');

-- The terms of each catalog, and how many entries have them.
CREATE TABLE terms (
    id      INTEGER PRIMARY KEY,
    catalog INTEGER NOT NULL REFERENCES catalogs (id) ON DELETE CASCADE,
    kind    TEXT NOT NULL,
    term    TEXT NOT NULL,
    entries INTEGER NOT NULL,
    UNIQUE (catalog, kind, term)
);
-- The words among them, by any three letters in a row.
CREATE VIRTUAL TABLE term_trigrams USING fts5 (term, content='terms', content_rowid='id', detail=full, tokenize='trigram case_sensitive 1');

-- +goose StatementBegin
CREATE TRIGGER entries_deleted AFTER DELETE ON entries BEGIN
    DELETE FROM entry_terms WHERE rowid = old.id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER terms_inserted AFTER INSERT ON terms WHEN new.kind IN ('mn', 'mp', 'mc', 'wn', 'wp') BEGIN
    INSERT INTO term_trigrams (rowid, term) VALUES (new.id, new.term);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER terms_deleted AFTER DELETE ON terms WHEN old.kind IN ('mn', 'mp', 'mc', 'wn', 'wp') BEGIN
    INSERT INTO term_trigrams (term_trigrams, rowid, term) VALUES ('delete', old.id, old.term);
END;
-- +goose StatementEnd

-- The entries have taken their place.
DROP INDEX workbooks_in_order;
DROP INDEX models_in_order;
