-- What schema 6 added, and what it kept of the same store.
ALTER TABLE deliveries ADD COLUMN learned TEXT;
ALTER TABLE runs ADD COLUMN streak INTEGER;
CREATE TABLE streaks (
   seq INTEGER PRIMARY KEY,
   key TEXT NOT NULL,
   state TEXT NOT NULL,
   count INTEGER NOT NULL,
   first_at INTEGER NOT NULL,
   last_at INTEGER NOT NULL,
   delivery INTEGER NOT NULL,
   run INTEGER,
   kept TEXT
);
CREATE INDEX streaks_key ON streaks (key, seq);
CREATE INDEX streaks_delivery ON streaks (delivery);
PRAGMA user_version = 6;
