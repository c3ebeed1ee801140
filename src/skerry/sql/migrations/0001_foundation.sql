-- The truth (images, embeddings, keys, jobs) and the log of what changed in it.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Who follows the log remembers the epoch: another one means another history.
INSERT INTO meta VALUES ('epoch', lower(hex(randomblob(16))));

CREATE TABLE images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sha256 TEXT NOT NULL UNIQUE,
    filename TEXT NOT NULL,
    media_type TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    uploaded_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    tags TEXT NOT NULL DEFAULT '{}' CHECK (json_type(tags) = 'object'),
    labels TEXT NOT NULL DEFAULT '[]' CHECK (json_type(labels) = 'array')
) STRICT;

CREATE INDEX images_by_time ON images (created_at, id);
CREATE INDEX images_by_uploader ON images (uploaded_by, created_at, id);

-- Views of images.tags and images.labels for filters, kept by the triggers below.
-- is_bool tells true from 1, which SQLite does not; 3 and 3.0 are equal, '3' is another value.
CREATE TABLE image_tags (
    image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE ON UPDATE CASCADE,
    name TEXT NOT NULL,
    is_bool INTEGER NOT NULL,
    value ANY NOT NULL,
    PRIMARY KEY (image_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX image_tags_by_value ON image_tags (name, is_bool, value, image_id);

-- The most probable label, and each of its synonyms ("tabby, tabby cat").
CREATE TABLE image_labels (
    image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE ON UPDATE CASCADE,
    label TEXT NOT NULL COLLATE NOCASE,
    PRIMARY KEY (image_id, label)
) STRICT, WITHOUT ROWID;

CREATE INDEX image_labels_by_label ON image_labels (label, image_id);

CREATE TABLE embeddings (
    kind TEXT NOT NULL,
    item_id INTEGER NOT NULL,
    space TEXT NOT NULL,
    vector BLOB NOT NULL CHECK (length(vector) > 0 AND length(vector) % 4 = 0),
    PRIMARY KEY (kind, item_id, space)
) STRICT;

CREATE TABLE spaces (
    name TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    size INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('filling', 'active', 'retired')),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX one_active_space ON spaces (state) WHERE state = 'active';

CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id INTEGER NOT NULL,
    op TEXT NOT NULL CHECK (op IN ('put', 'del'))
) STRICT;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    hash BLOB NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'infer', 'write', 'admin')),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX one_live_key_per_name ON keys (name) WHERE revoked_at IS NULL;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('running', 'done', 'failed', 'cancelled', 'interrupted')),
    done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    arguments TEXT NOT NULL DEFAULT '{}' CHECK (json_type(arguments) = 'object'),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_by_time ON jobs (created_at, id);

-- Tags and labels follow their image.

CREATE TRIGGER images_insert_tags AFTER INSERT ON images BEGIN
    INSERT INTO image_tags
        SELECT NEW.id, key, type IN ('true', 'false'), value FROM json_each(NEW.tags);
END;

CREATE TRIGGER images_update_tags AFTER UPDATE OF tags ON images BEGIN
    DELETE FROM image_tags WHERE image_id = NEW.id;
    INSERT INTO image_tags
        SELECT NEW.id, key, type IN ('true', 'false'), value FROM json_each(NEW.tags);
END;

-- '["' || 'a", "b' || '"]': quoting the label as JSON and cutting at ', ' makes a list of synonyms.
CREATE TRIGGER images_insert_labels AFTER INSERT ON images
WHEN NEW.labels ->> '$[0].label' IS NOT NULL BEGIN
    INSERT OR IGNORE INTO image_labels VALUES (NEW.id, NEW.labels ->> '$[0].label');
    INSERT OR IGNORE INTO image_labels
        SELECT NEW.id, value FROM json_each(
            '[' || replace(json_quote(NEW.labels ->> '$[0].label'), ', ', '","') || ']');
END;

CREATE TRIGGER images_update_labels AFTER UPDATE OF labels ON images BEGIN
    DELETE FROM image_labels WHERE image_id = NEW.id;
    INSERT OR IGNORE INTO image_labels
        SELECT NEW.id, NEW.labels ->> '$[0].label'
        WHERE NEW.labels ->> '$[0].label' IS NOT NULL;
    INSERT OR IGNORE INTO image_labels
        SELECT NEW.id, value FROM json_each(
            '[' || replace(json_quote(NEW.labels ->> '$[0].label'), ', ', '","') || ']')
        WHERE value IS NOT NULL;
END;

-- The log: every change of an image, its embeddings' included, in the same transaction.

CREATE TRIGGER images_insert_log AFTER INSERT ON images BEGIN
    INSERT INTO changes (kind, id, op) VALUES ('image', NEW.id, 'put');
END;

CREATE TRIGGER images_update_log AFTER UPDATE ON images BEGIN
    INSERT INTO changes (kind, id, op)
        SELECT 'image', OLD.id, 'del' WHERE OLD.id <> NEW.id;
    UPDATE embeddings SET item_id = NEW.id
        WHERE kind = 'image' AND item_id = OLD.id AND OLD.id <> NEW.id;
    INSERT INTO changes (kind, id, op) VALUES ('image', NEW.id, 'put');
END;

CREATE TRIGGER images_delete_log AFTER DELETE ON images BEGIN
    DELETE FROM embeddings WHERE kind = 'image' AND item_id = OLD.id;
    INSERT INTO changes (kind, id, op) VALUES ('image', OLD.id, 'del');
END;

-- A vector that comes late must not bring a deleted image back into a search.
CREATE TRIGGER embeddings_insert_check BEFORE INSERT ON embeddings
WHEN NEW.kind = 'image' AND NOT EXISTS (SELECT 1 FROM images WHERE id = NEW.item_id) BEGIN
    SELECT RAISE(ABORT, 'embedding of an image that does not exist');
END;

CREATE TRIGGER embeddings_insert_log AFTER INSERT ON embeddings BEGIN
    INSERT INTO changes (kind, id, op) VALUES (NEW.kind, NEW.item_id, 'put');
END;

CREATE TRIGGER embeddings_update_log AFTER UPDATE ON embeddings BEGIN
    INSERT INTO changes (kind, id, op)
        SELECT OLD.kind, OLD.item_id, 'put'
        WHERE OLD.item_id <> NEW.item_id
            AND OLD.kind = 'image' AND EXISTS (SELECT 1 FROM images WHERE id = OLD.item_id);
    INSERT INTO changes (kind, id, op) VALUES (NEW.kind, NEW.item_id, 'put');
END;

CREATE TRIGGER embeddings_delete_log AFTER DELETE ON embeddings
WHEN OLD.kind = 'image' AND EXISTS (SELECT 1 FROM images WHERE id = OLD.item_id) BEGIN
    INSERT INTO changes (kind, id, op) VALUES ('image', OLD.item_id, 'put');
END;
