-- When a check of a backup was last tried in vain: it could not be done, and says nothing about the backup.
ALTER TABLE backups ADD COLUMN attempted_at TEXT;
