-- Who may use the HTTP interface. `hash` is the BLAKE3 of the token in hexadecimal; the token itself is kept nowhere.
CREATE TABLE tokens (
    id         TEXT NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    hash       TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    expires_at TEXT
) STRICT;

-- Who changed what. A row is there before the change is made; `outcome` is null until it is known.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      TEXT NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    outcome TEXT
) STRICT;

-- Requests that were carried out and may come again: the key that their sender gave them, the hash of what was asked, and the
-- id of what came of it. A row is written in one transaction with what it is about.
CREATE TABLE requests (
    actor      TEXT NOT NULL,
    key        TEXT NOT NULL,
    asked      TEXT NOT NULL,
    answer     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (actor, key)
) STRICT;

CREATE INDEX requests_by_age ON requests (created_at);
