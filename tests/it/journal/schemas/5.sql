-- What schema 5 added, and what it kept of the same store.
ALTER TABLE runs ADD COLUMN dry INTEGER NOT NULL DEFAULT 0;
PRAGMA user_version = 5;
