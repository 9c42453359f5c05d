CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- One row for each object of the source, without its facts, so that all can be read at once.
CREATE TABLE files (
    key BLOB PRIMARY KEY,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    what INTEGER NOT NULL,
    "group" TEXT NOT NULL,
    inflate_from INTEGER,
    inflated_size INTEGER
) WITHOUT ROWID;

CREATE INDEX files_of_group ON files ("group");

CREATE TABLE facts (key BLOB PRIMARY KEY, record BLOB NOT NULL);

-- What many records have in common, such as ICC profiles.
CREATE TABLE shared (digest BLOB PRIMARY KEY, data BLOB NOT NULL);

CREATE TABLE frames (key BLOB PRIMARY KEY, identity TEXT NOT NULL, record BLOB NOT NULL);

-- What a series shows as it is laid out by certain options: names, sizes, no plans.
CREATE TABLE listings (
    series TEXT NOT NULL,
    options TEXT NOT NULL,
    digest BLOB NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (series, options)
);
