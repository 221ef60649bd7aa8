-- A store as schema 4 kept it: one delivery that waits, one with a run whose step was under way, one that is over.
CREATE TABLE deliveries (
   seq INTEGER PRIMARY KEY,
   source TEXT NOT NULL,
   delivery_id TEXT NOT NULL,
   event_type TEXT NOT NULL,
   received_at INTEGER NOT NULL,
   trace TEXT NOT NULL,
   verified TEXT NOT NULL,
   size INTEGER NOT NULL,
   replay INTEGER NOT NULL DEFAULT 0,
   state TEXT NOT NULL,
   reason TEXT,
   finished_at INTEGER,
   next_at INTEGER,
   claims INTEGER NOT NULL DEFAULT 0,
   token INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX deliveries_known ON deliveries (source, delivery_id) WHERE replay = 0;
CREATE INDEX deliveries_next ON deliveries (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE contents (
   delivery INTEGER PRIMARY KEY,
   headers TEXT NOT NULL,
   body BLOB NOT NULL
);
CREATE TABLE traces (
   delivery INTEGER PRIMARY KEY,
   traces TEXT NOT NULL
);
CREATE TABLE runs (
   seq INTEGER PRIMARY KEY,
   delivery INTEGER NOT NULL,
   number INTEGER NOT NULL,
   rule TEXT NOT NULL,
   owner TEXT,
   place TEXT NOT NULL,
   revision TEXT NOT NULL,
   state TEXT NOT NULL,
   group_key TEXT,
   group_mode TEXT,
   round INTEGER NOT NULL DEFAULT 0,
   created_at INTEGER NOT NULL,
   started_at INTEGER,
   finished_at INTEGER,
   failure TEXT,
   covered_by INTEGER,
   next_at INTEGER,
   claims INTEGER NOT NULL DEFAULT 0,
   token INTEGER NOT NULL DEFAULT 0,
   worker TEXT
);
CREATE UNIQUE INDEX runs_of ON runs (delivery, number);
CREATE INDEX runs_next ON runs (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX runs_group ON runs (group_key, seq) WHERE group_key IS NOT NULL AND next_at IS NOT NULL;
CREATE INDEX runs_revision ON runs (revision);
CREATE TABLE steps (
   run INTEGER NOT NULL,
   round INTEGER NOT NULL,
   phase TEXT NOT NULL,
   number INTEGER NOT NULL,
   id TEXT,
   name TEXT,
   uses TEXT NOT NULL,
   state TEXT NOT NULL,
   intent TEXT,
   saved TEXT,
   outcome TEXT,
   why TEXT,
   started_at INTEGER,
   finished_at INTEGER,
   PRIMARY KEY (run, round, phase, number)
) WITHOUT ROWID;
CREATE TABLE attempts (
   run INTEGER NOT NULL,
   step_round INTEGER NOT NULL,
   phase TEXT NOT NULL,
   step INTEGER NOT NULL,
   number INTEGER NOT NULL,
   round INTEGER NOT NULL,
   worker TEXT NOT NULL,
   state TEXT NOT NULL,
   why TEXT,
   started_at INTEGER NOT NULL,
   finished_at INTEGER,
   PRIMARY KEY (run, step_round, phase, step, number)
) WITHOUT ROWID;
CREATE TABLE rule_sets (
   revision TEXT PRIMARY KEY,
   files TEXT NOT NULL,
   kept_at INTEGER NOT NULL
);
CREATE TABLE probe (
   id INTEGER PRIMARY KEY,
   count INTEGER NOT NULL
);
INSERT INTO probe (id, count) VALUES (1, 0);
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
ALTER TABLE steps ADD COLUMN answer TEXT;

INSERT INTO deliveries (seq, source, delivery_id, event_type, received_at, trace, verified, size, state, next_at, claims, token)
  VALUES (1835008000000, 'github', 'open', 'push', 1800000000000, '00-trace', 'X-Hub-Signature-256, secret 1 of 1', 25, 'accepted', 1800000000000, 0, 0),
         (1835008000001, 'github', 'running', 'push', 1800000000000, '00-trace', 'X-Hub-Signature-256, secret 1 of 1', 25, 'running', NULL, 0, 1);
INSERT INTO deliveries (seq, source, delivery_id, event_type, received_at, trace, verified, size, state, finished_at, token)
  VALUES (1835008000002, 'github', 'done', 'push', 1800000000000, '00-trace', 'X-Hub-Signature-256, secret 1 of 1', 25, 'ignored', 1800000001000, 1);
INSERT INTO contents (delivery, headers, body) SELECT seq, '[["x-github-event","push"]]', CAST('{"ref":"refs/heads/main"}' AS BLOB) FROM deliveries;
INSERT INTO traces (delivery, traces) SELECT seq, '[]' FROM deliveries WHERE state <> 'accepted';
INSERT INTO runs (seq, delivery, number, rule, place, revision, state, created_at, started_at, next_at, claims, token, worker)
  VALUES (1, 1835008000001, 1, 'deploy', 'rules/web.yaml:3', 'r1', 'running', 1800000000000, 1800000000500, 1800000030000, 1, 1, 'w1');
INSERT INTO steps (run, round, phase, number, uses, state, intent, saved, started_at)
  VALUES (1, 0, 'steps', 0, 'http/request', 'running', '{"call":{"key":"k0","params":{},"target":null,"connection":null,"origin":{"delivery":"1m86j05bw0001","run":"1m86j05bw0001-1","rule":"deploy","step":"1"}},"plan":null,"summary":"POST /"}', '{"operation":"op-1"}', 1800000000500);
INSERT INTO attempts (run, step_round, phase, step, number, round, worker, state, started_at)
  VALUES (1, 0, 'steps', 0, 1, 0, 'w1', 'open', 1800000000500);
INSERT INTO rule_sets (revision, files, kept_at) VALUES ('r1', '[]', 1800000000000);
UPDATE runs SET share = 'acme/web';
INSERT INTO lines (delivery, repository, reference, before_sha, after_sha, forced)
  VALUES (1835008000001, 'acme/web', 'refs/heads/main', 'aaaa', 'bbbb', 0);
PRAGMA application_id = 1147495276;
PRAGMA user_version = 4;
