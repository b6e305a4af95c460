-- What happened and nobody was told of yet. Written by the triggers below in the transaction in which it happens, so that
-- none is lost or doubled whatever writes the run; it leaves in the transaction that makes deliveries of it.
-- `was` is the status that a run had before it ended.
CREATE TABLE notices (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    what     TEXT NOT NULL CHECK (what IN ('began', 'ended', 'unable', 'able')),
    at       TEXT,
    run_id   TEXT,
    was      TEXT,
    job_name TEXT,
    message  TEXT
) STRICT;

CREATE TRIGGER run_began AFTER INSERT ON runs WHEN NEW.kind = 'backup' AND NEW.status = 'preparing' BEGIN
    INSERT INTO notices (what, run_id) VALUES ('began', NEW.id);
END;

CREATE TRIGGER run_was_taken AFTER UPDATE OF status ON runs
WHEN NEW.kind = 'backup' AND OLD.status = 'queued' AND NEW.status = 'preparing' BEGIN
    INSERT INTO notices (what, run_id) VALUES ('began', NEW.id);
END;

CREATE TRIGGER run_ended AFTER UPDATE OF finished_at ON runs
WHEN OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL BEGIN
    INSERT INTO notices (what, run_id, was) VALUES ('ended', NEW.id, OLD.status);
END;

CREATE TRIGGER run_ended_at_once AFTER INSERT ON runs WHEN NEW.finished_at IS NOT NULL BEGIN
    INSERT INTO notices (what, run_id) VALUES ('ended', NEW.id);
END;

-- Jobs that something went wrong with, since when, until a backup of them is made.
CREATE TABLE troubles (
    job_id TEXT NOT NULL PRIMARY KEY,
    since  TEXT NOT NULL
) STRICT;

-- Jobs that can't be started at all, and why.
CREATE TABLE unable (
    job_name TEXT NOT NULL PRIMARY KEY,
    message  TEXT NOT NULL
) STRICT;

-- Messages on their way, those that arrived, and those that were given up. `channel` is one of the settings, or 'ping' and
-- the id of a job.
CREATE TABLE deliveries (
    id         TEXT    NOT NULL PRIMARY KEY,
    channel    TEXT    NOT NULL,
    job_name   TEXT    NOT NULL,
    event      TEXT    NOT NULL,
    payload    TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'sent', 'given-up', 'replaced')),
    attempts   INTEGER NOT NULL,
    -- When it is tried next; when it was sent or given up.
    at         TEXT    NOT NULL,
    error      TEXT
) STRICT;

CREATE INDEX deliveries_waiting ON deliveries (at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_channel ON deliveries (channel, state, at);

-- How often runs of a job ended how, and the last that did, so that to ask costs the same after a million runs.
CREATE TABLE run_totals (
    job_id      TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    runs        INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    last_run_id TEXT    NOT NULL,
    PRIMARY KEY (job_id, kind, status)
) STRICT;

-- How long the backups of a job took: so many at most `at_most` seconds and longer than the next smaller; 0 is longer
-- than all.
CREATE TABLE run_durations (
    job_id  TEXT    NOT NULL,
    at_most INTEGER NOT NULL,
    runs    INTEGER NOT NULL,
    PRIMARY KEY (job_id, at_most)
) STRICT;

INSERT INTO run_totals (job_id, kind, status, runs, duration_ms, last_run_id)
SELECT job_id, kind, status, count(*), coalesce(sum(json_extract(stats, '$.durationMs')), 0), max(id)
FROM runs WHERE finished_at IS NOT NULL GROUP BY job_id, kind, status;

INSERT INTO run_durations (job_id, at_most, runs)
SELECT job_id, CASE
    WHEN ms <= 1000 THEN 1 WHEN ms <= 5000 THEN 5 WHEN ms <= 15000 THEN 15 WHEN ms <= 60000 THEN 60
    WHEN ms <= 300000 THEN 300 WHEN ms <= 900000 THEN 900 WHEN ms <= 3600000 THEN 3600
    WHEN ms <= 14400000 THEN 14400 WHEN ms <= 43200000 THEN 43200 WHEN ms <= 86400000 THEN 86400 ELSE 0 END, count(*)
FROM (SELECT job_id, coalesce(json_extract(stats, '$.durationMs'), 0) AS ms FROM runs
      WHERE kind = 'backup' AND status IN ('succeeded', 'warning')) GROUP BY 1, 2;

-- All that counts runs listens here, so that there is one place for both ways in which a run gets its end.
CREATE TRIGGER run_is_counted AFTER INSERT ON notices WHEN NEW.what = 'ended' BEGIN
    INSERT INTO run_totals (job_id, kind, status, runs, duration_ms, last_run_id)
    SELECT job_id, kind, status, 1, coalesce(json_extract(stats, '$.durationMs'), 0), id FROM runs WHERE id = NEW.run_id
    ON CONFLICT (job_id, kind, status) DO UPDATE SET
        runs = runs + 1, duration_ms = duration_ms + excluded.duration_ms, last_run_id = excluded.last_run_id;
    INSERT INTO run_durations (job_id, at_most, runs)
    SELECT job_id, CASE
        WHEN ms <= 1000 THEN 1 WHEN ms <= 5000 THEN 5 WHEN ms <= 15000 THEN 15 WHEN ms <= 60000 THEN 60
        WHEN ms <= 300000 THEN 300 WHEN ms <= 900000 THEN 900 WHEN ms <= 3600000 THEN 3600
        WHEN ms <= 14400000 THEN 14400 WHEN ms <= 43200000 THEN 43200 WHEN ms <= 86400000 THEN 86400 ELSE 0 END, 1
    FROM (SELECT job_id, coalesce(json_extract(stats, '$.durationMs'), 0) AS ms FROM runs
          WHERE id = NEW.run_id AND kind = 'backup' AND status IN ('succeeded', 'warning'))
    WHERE true
    ON CONFLICT (job_id, at_most) DO UPDATE SET runs = runs + 1;
END;

CREATE TRIGGER job_is_forgotten AFTER DELETE ON jobs BEGIN
    DELETE FROM troubles WHERE job_id = OLD.id;
    DELETE FROM unable WHERE job_name = OLD.name;
    DELETE FROM run_totals WHERE job_id = OLD.id;
    DELETE FROM run_durations WHERE job_id = OLD.id;
END;

-- What a metric says about a job's backups, without a look at their manifests.
CREATE INDEX backups_in_brief ON backups (job_id, critical, verified_ok, created_at, verified_at, removed_by) WHERE removed_by IS NULL;
