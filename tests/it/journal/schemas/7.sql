-- What schema 7 added, and what it kept of the same store.
ALTER TABLE steps ADD COLUMN said TEXT;
CREATE INDEX runs_failed ON runs (seq) WHERE state IN ('failed', 'dead');
PRAGMA user_version = 7;
