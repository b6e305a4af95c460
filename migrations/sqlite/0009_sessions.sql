-- Browsers that somebody logged in with a token, which they end with. `hash` is the BLAKE3 of what their cookie holds, in
-- hexadecimal; that itself is kept nowhere.
CREATE TABLE sessions (
    id         TEXT NOT NULL PRIMARY KEY,
    token_id   TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    hash       TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    seen_at    TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    address    TEXT NOT NULL,
    agent      TEXT
) STRICT;

CREATE INDEX sessions_by_token ON sessions (token_id, seen_at);

-- What is too old is looked for each day.
CREATE INDEX audit_by_age ON audit (at);
