-- When a check of a backup last began, however it ended.
ALTER TABLE backups ADD COLUMN attempted_at TEXT;
