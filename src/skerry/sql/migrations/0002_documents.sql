-- Documents, their chunks and the keyword index over these; an active space for each kind.

ALTER TABLE spaces ADD COLUMN
    kind TEXT NOT NULL DEFAULT 'image' CHECK (kind IN ('image', 'chunk'));
DROP INDEX one_active_space;
CREATE UNIQUE INDEX one_active_space_per_kind ON spaces (kind) WHERE state = 'active';

-- content_hash is of what is embedded: title and text. The text stands last, so that a row's
-- other columns are read without it.
CREATE TABLE documents (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    title TEXT,
    category TEXT,
    timestamp INTEGER,
    metadata TEXT NOT NULL DEFAULT '{}' CHECK (json_type(metadata) = 'object'),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    chunk_count INTEGER NOT NULL,
    characters INTEGER NOT NULL,
    content_hash BLOB NOT NULL,
    text TEXT NOT NULL
) STRICT;

CREATE INDEX documents_by_category ON documents (category);
CREATE INDEX documents_by_timestamp ON documents (timestamp);

-- A view of documents.metadata for filters, kept by the triggers below: one row for each value
-- of a list. Types are strict, as in the filters: true is not 1, and 1.0 is not 1.
CREATE TABLE document_values (
    name TEXT NOT NULL,
    type TEXT NOT NULL CHECK (type IN ('text', 'integer', 'real', 'bool')),
    value ANY NOT NULL,
    document INTEGER NOT NULL REFERENCES documents (key) ON DELETE CASCADE ON UPDATE CASCADE,
    PRIMARY KEY (name, type, value, document)
) STRICT, WITHOUT ROWID;

CREATE INDEX document_values_by_document ON document_values (document);

-- start and stop count characters of the document's text, which repeats here: a search reads ten
-- chunks, and must not read ten documents for them.
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (key) ON DELETE CASCADE ON UPDATE CASCADE,
    position INTEGER NOT NULL,
    start INTEGER NOT NULL,
    stop INTEGER NOT NULL CHECK (stop > start),
    page INTEGER,
    heading TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (document, position)
) STRICT;

-- The terms of each chunk, joined by spaces; only a space parts them, so that "c++" is a term.
CREATE VIRTUAL TABLE chunk_terms USING fts5 (
    terms,
    content = '',
    contentless_delete = 1,
    tokenize = "unicode61 remove_diacritics 0 categories 'L* M* N* P* S* Cf Cn Co'"
);

-- Values follow their document.

CREATE TRIGGER documents_insert_values AFTER INSERT ON documents BEGIN
    INSERT OR IGNORE INTO document_values
        SELECT key, iif(type IN ('true', 'false'), 'bool', type), value, NEW.key
        FROM json_each(NEW.metadata) WHERE type <> 'array';
    INSERT OR IGNORE INTO document_values
        SELECT list.key, iif(one.type IN ('true', 'false'), 'bool', one.type), one.value, NEW.key
        FROM json_each(NEW.metadata) list
        CROSS JOIN json_each(iif(list.type = 'array', list.value, '[]')) one;
END;

CREATE TRIGGER documents_update_values AFTER UPDATE OF metadata ON documents
WHEN OLD.metadata <> NEW.metadata BEGIN
    DELETE FROM document_values WHERE document = NEW.key;
    INSERT OR IGNORE INTO document_values
        SELECT key, iif(type IN ('true', 'false'), 'bool', type), value, NEW.key
        FROM json_each(NEW.metadata) WHERE type <> 'array';
    INSERT OR IGNORE INTO document_values
        SELECT list.key, iif(one.type IN ('true', 'false'), 'bool', one.type), one.value, NEW.key
        FROM json_each(NEW.metadata) list
        CROSS JOIN json_each(iif(list.type = 'array', list.value, '[]')) one;
END;

-- The log: every change of a document or a chunk, in the same transaction.

CREATE TRIGGER documents_insert_log AFTER INSERT ON documents BEGIN
    INSERT INTO changes (kind, id, op) VALUES ('document', NEW.key, 'put');
END;

CREATE TRIGGER documents_update_log AFTER UPDATE ON documents BEGIN
    INSERT INTO changes (kind, id, op)
        SELECT 'document', OLD.key, 'del' WHERE OLD.key <> NEW.key;
    INSERT INTO changes (kind, id, op) VALUES ('document', NEW.key, 'put');
    -- Chunks are found by these fields of their document.
    INSERT INTO changes (kind, id, op)
        SELECT 'chunk', id, 'put' FROM chunks
        WHERE document = NEW.key AND (OLD.id, OLD.category, OLD.timestamp, OLD.metadata)
            IS NOT (NEW.id, NEW.category, NEW.timestamp, NEW.metadata);
END;

CREATE TRIGGER documents_delete_log AFTER DELETE ON documents BEGIN
    INSERT INTO changes (kind, id, op) VALUES ('document', OLD.key, 'del');
END;

CREATE TRIGGER chunks_insert_log AFTER INSERT ON chunks BEGIN
    INSERT INTO changes (kind, id, op) VALUES ('chunk', NEW.id, 'put');
END;

-- The keyword index cannot take its terms along: it does not keep them.
CREATE TRIGGER chunks_keep_id BEFORE UPDATE OF id ON chunks WHEN OLD.id <> NEW.id BEGIN
    SELECT RAISE(ABORT, 'the id of a chunk never changes');
END;

CREATE TRIGGER chunks_update_log AFTER UPDATE ON chunks BEGIN
    INSERT INTO changes (kind, id, op) VALUES ('chunk', NEW.id, 'put');
END;

-- Also when the document goes: what a foreign key deletes fires triggers too.
CREATE TRIGGER chunks_delete_log AFTER DELETE ON chunks BEGIN
    DELETE FROM embeddings WHERE kind = 'chunk' AND item_id = OLD.id;
    DELETE FROM chunk_terms WHERE rowid = OLD.id;
    INSERT INTO changes (kind, id, op) VALUES ('chunk', OLD.id, 'del');
END;

-- A vector that comes late must not bring a deleted chunk back into a search.
CREATE TRIGGER embeddings_insert_check_chunk BEFORE INSERT ON embeddings
WHEN NEW.kind = 'chunk' AND NOT EXISTS (SELECT 1 FROM chunks WHERE id = NEW.item_id) BEGIN
    SELECT RAISE(ABORT, 'embedding of a chunk that does not exist');
END;

CREATE TRIGGER embeddings_move_log_chunk AFTER UPDATE OF item_id ON embeddings
WHEN OLD.kind = 'chunk' AND OLD.item_id <> NEW.item_id
    AND EXISTS (SELECT 1 FROM chunks WHERE id = OLD.item_id) BEGIN
    INSERT INTO changes (kind, id, op) VALUES ('chunk', OLD.item_id, 'put');
END;

CREATE TRIGGER embeddings_delete_log_chunk AFTER DELETE ON embeddings
WHEN OLD.kind = 'chunk' AND EXISTS (SELECT 1 FROM chunks WHERE id = OLD.item_id) BEGIN
    INSERT INTO changes (kind, id, op) VALUES ('chunk', OLD.item_id, 'put');
END;
