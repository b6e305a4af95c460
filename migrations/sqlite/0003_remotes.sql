-- Object stores that jobs name. `settings` is JSON without a secret; `sealed` is the secret as an age file for the key
-- beside the database.
CREATE TABLE remotes (
    name       TEXT NOT NULL PRIMARY KEY,
    settings   TEXT NOT NULL,
    sealed     BLOB,
    created_at TEXT NOT NULL
) STRICT;
