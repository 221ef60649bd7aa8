-- What schema 3 added, and what it kept of the same store.
ALTER TABLE deliveries ADD COLUMN event TEXT;
ALTER TABLE deliveries ADD COLUMN repository TEXT;
ALTER TABLE deliveries ADD COLUMN title TEXT;
CREATE TABLE audit (
   number INTEGER PRIMARY KEY AUTOINCREMENT,
   at INTEGER NOT NULL,
   who TEXT NOT NULL,
   act TEXT NOT NULL,
   subject TEXT NOT NULL,
   outcome TEXT
);
PRAGMA user_version = 3;
