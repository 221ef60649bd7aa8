-- What schema 4 added, and what it kept of the same store.
ALTER TABLE steps ADD COLUMN answer TEXT;
PRAGMA user_version = 4;
