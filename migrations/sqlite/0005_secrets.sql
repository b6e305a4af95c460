-- Secrets that jobs name. `sealed` is an age file as for remotes.
CREATE TABLE secrets (
    name   TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL,
    set_at TEXT NOT NULL
) STRICT;
