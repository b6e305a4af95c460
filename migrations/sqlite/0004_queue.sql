-- A run with the status 'queued' waits for its turn: the queue is nothing else. `due_at` is the due time that a schedule
-- started it for, `reason` why it was asked for, `cancel_asked_at` when somebody asked to end it.
ALTER TABLE runs ADD COLUMN reason TEXT NOT NULL DEFAULT 'manual';
ALTER TABLE runs ADD COLUMN due_at TEXT;
ALTER TABLE runs ADD COLUMN cancel_asked_at TEXT;

-- The same due time never starts twice, however many hosts share the database and whatever their clocks do.
CREATE UNIQUE INDEX runs_once_for_each_due_time ON runs (job_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX runs_queued ON runs (id) WHERE status = 'queued';

-- Up to when the due times of a job have been dealt with, for the schedule that it had then.
CREATE TABLE schedules (
    job_id        TEXT NOT NULL PRIMARY KEY,
    schedule      TEXT NOT NULL,
    considered_at TEXT NOT NULL
) STRICT;

-- One row that changes with whatever a scheduler must look at again, so that it asks for one number each second.
CREATE TABLE changes (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    jobs     INTEGER NOT NULL,
    queue    INTEGER NOT NULL
) STRICT;

INSERT INTO changes (only_row, jobs, queue) VALUES (1, 0, 0);

CREATE TRIGGER job_added AFTER INSERT ON jobs BEGIN
    UPDATE changes SET jobs = jobs + 1;
END;

CREATE TRIGGER job_changed AFTER UPDATE OF spec ON jobs BEGIN
    UPDATE changes SET jobs = jobs + 1;
END;

CREATE TRIGGER job_removed AFTER DELETE ON jobs BEGIN
    UPDATE changes SET jobs = jobs + 1;
    DELETE FROM schedules WHERE job_id = OLD.id;
END;

CREATE TRIGGER run_queued AFTER INSERT ON runs WHEN NEW.status = 'queued' BEGIN
    UPDATE changes SET queue = queue + 1;
END;

CREATE TRIGGER run_left_the_queue AFTER UPDATE OF status ON runs WHEN OLD.status = 'queued' BEGIN
    UPDATE changes SET queue = queue + 1;
END;
