-- Ids are UUIDs as text; those of jobs, runs and backups are UUIDv7 and sort by time.
-- Instants are RFC 3339 in UTC with nine digits of a second, so that text sorts by time.
-- Documents (job, warnings, statistics, manifest, owner) are JSON.

-- Tells this file from any other SQLite database: "BSTK".
PRAGMA application_id = 1112757323;

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
    id               TEXT NOT NULL PRIMARY KEY,
    name             TEXT NOT NULL UNIQUE,
    spec             TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    updated_at       TEXT NOT NULL,
    retention_frozen TEXT
) STRICT;

-- No foreign key to jobs: runs outlive the job that they belong to.
CREATE TABLE runs (
    id          TEXT NOT NULL PRIMARY KEY,
    job_id      TEXT NOT NULL,
    job_name    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    status      TEXT NOT NULL,
    started_at  TEXT NOT NULL,
    finished_at TEXT,
    error       TEXT,
    warnings    TEXT NOT NULL,
    stats       TEXT NOT NULL,
    -- Whether a backup at the critical destination was committed; stays when retention deletes that backup.
    committed   INTEGER NOT NULL DEFAULT 0 CHECK (committed IN (0, 1)),
    CHECK ((finished_at IS NULL) = (status IN ('queued', 'preparing', 'transferring', 'verifying', 'pruning')))
) STRICT;

CREATE INDEX runs_by_job ON runs (job_id, id);
CREATE INDEX runs_unfinished ON runs (id) WHERE finished_at IS NULL;
CREATE INDEX runs_unfinished_by_job ON runs (job_id, id) WHERE finished_at IS NULL;

CREATE TABLE events (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id  TEXT NOT NULL REFERENCES runs (id),
    at      TEXT NOT NULL,
    level   TEXT NOT NULL,
    origin  TEXT NOT NULL,
    message TEXT NOT NULL,
    status  TEXT
) STRICT;

CREATE INDEX events_by_run ON events (run_id, id);

-- No foreign keys: a catalogue rebuilt from manifests knows neither the runs nor the jobs.
CREATE TABLE backups (
    id                TEXT    NOT NULL PRIMARY KEY,
    run_id            TEXT    NOT NULL,
    job_id            TEXT    NOT NULL,
    job_name          TEXT    NOT NULL,
    destination_index INTEGER NOT NULL,
    critical          INTEGER NOT NULL CHECK (critical IN (0, 1)),
    location          TEXT    NOT NULL,
    receipt           TEXT    NOT NULL,
    manifest          TEXT    NOT NULL,
    created_at        TEXT    NOT NULL,
    verified_at       TEXT,
    verified_level    TEXT,
    verified_ok       INTEGER CHECK (verified_ok IN (0, 1))
) STRICT;

CREATE INDEX backups_by_job ON backups (job_id, id);
CREATE INDEX backups_by_job_name ON backups (job_name, id);
CREATE INDEX backups_by_run ON backups (run_id, destination_index);

CREATE TABLE journal (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id      TEXT NOT NULL REFERENCES runs (id),
    owner       TEXT NOT NULL,
    undo_when   TEXT NOT NULL,
    entry       TEXT NOT NULL,
    recorded_at TEXT NOT NULL
) STRICT;

CREATE INDEX journal_by_run ON journal (run_id, id);

-- Notes that a plugin keeps for a job. No foreign key: a restore may need them after the job is gone.
CREATE TABLE state (
    job_id     TEXT NOT NULL,
    plugin_id  TEXT NOT NULL,
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (job_id, plugin_id, key)
) STRICT;

CREATE TABLE plugins (
    id            TEXT NOT NULL PRIMARY KEY,
    version       TEXT NOT NULL,
    digest        TEXT NOT NULL,
    manifest_json TEXT NOT NULL,
    file_name     TEXT NOT NULL,
    installed_at  TEXT NOT NULL
) STRICT;
