-- What schema 2 added, and what it kept of the same store.
ALTER TABLE runs ADD COLUMN share TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN note TEXT;
ALTER TABLE runs ADD COLUMN waits_for TEXT;
ALTER TABLE steps ADD COLUMN exclusive TEXT;
CREATE INDEX steps_exclusive ON steps (exclusive) WHERE exclusive IS NOT NULL;
CREATE INDEX runs_waits_for ON runs (waits_for) WHERE waits_for IS NOT NULL;
CREATE INDEX runs_share ON runs (share, next_at) WHERE next_at IS NOT NULL;
CREATE TABLE lines (
   delivery INTEGER PRIMARY KEY,
   repository TEXT NOT NULL,
   reference TEXT NOT NULL,
   before_sha TEXT,
   after_sha TEXT NOT NULL,
   forced INTEGER NOT NULL
);
CREATE INDEX lines_of ON lines (repository, reference, delivery);
CREATE TABLE ancestry (
   repository TEXT NOT NULL,
   line TEXT NOT NULL,
   other TEXT NOT NULL,
   known TEXT NOT NULL,
   kept_at INTEGER NOT NULL,
   PRIMARY KEY (repository, line, other)
) WITHOUT ROWID;
CREATE TABLE exclusives (
   name TEXT PRIMARY KEY,
   run INTEGER NOT NULL,
   run_id TEXT NOT NULL,
   delivery INTEGER NOT NULL,
   repository TEXT,
   reference TEXT,
   before_sha TEXT,
   after_sha TEXT,
   forced INTEGER
) WITHOUT ROWID;
CREATE TABLE marks (
   name TEXT PRIMARY KEY,
   at INTEGER NOT NULL
) WITHOUT ROWID;
UPDATE runs SET share = 'acme/web';
INSERT INTO lines (delivery, repository, reference, before_sha, after_sha, forced)
  VALUES (1835008000001, 'acme/web', 'refs/heads/main', 'aaaa', 'bbbb', 0);
PRAGMA user_version = 2;
