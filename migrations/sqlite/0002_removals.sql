-- The run that began to delete a backup. It is set before the first byte goes and the row leaves with the last, so
-- a backup that is only half there is never listed, and the next start knows what to finish.
ALTER TABLE backups ADD COLUMN removed_by TEXT;

CREATE INDEX backups_being_removed ON backups (id) WHERE removed_by IS NOT NULL;

-- Whether anything builds on a backup is asked before each deletion.
CREATE INDEX backups_by_base ON backups (json_extract(manifest, '$.dependsOn'))
    WHERE json_extract(manifest, '$.dependsOn') IS NOT NULL;
