-- The embedded store, schema 1. Statements end in a semicolon at the end of a line; each runs inside one transaction.

-- The time axis, one row.
-- watermark: versions that ended at or before it may be gone; no T below it can be shown.
-- last_t: the newest transaction time handed out. last_stamp: the newest `changed` of any version.
create table state (
  one integer primary key check (one = 1),
  watermark integer not null,
  last_t integer not null,
  last_stamp integer not null
);

insert into state values (1, 0, 0, 0);

-- A resource type that the store has seen. Its keys are code << 40 | 1, 2, 3 ...: types lie apart on disk.
-- The counters are exact after every transaction, so that a full export knows its size without counting.
-- resources, bytes: current ones. deletions: ids whose current version is a deletion. versions: all, deletions included.
create table type (
  code integer primary key,
  name text not null unique,
  last_key integer not null,
  resources integer not null,
  bytes integer not null,
  deletions integer not null,
  versions integer not null
);

-- One row per version of a resource. Narrow: marking an end rewrites some 100 bytes, never a body. What a scan looks at
-- comes first: that makes it half as long.
-- changed, ended: visible at T when changed <= T < ended; ended = 2^63 - 1 while current. Microseconds since 1970.
-- updated: meta.lastUpdated as given, or as stamped; of a deletion that of its predecessor.
-- place: the key again, for indexes: SQLite compares (changed, place) with a position by searching, while with the
-- rowid itself it would pass all versions of the same instant. Costs nothing in the row.
-- size: bytes of its NDJSON line, the newline included; 0 for a deletion, which has no row in body.
create table version (
  key integer primary key,
  type integer not null,
  changed integer not null,
  ended integer not null,
  size integer not null,
  version integer not null,
  updated integer not null,
  digest blob not null,
  id text not null,
  place integer generated always as (key) virtual
);

-- At most one current version per id.
create unique index version_current on version (type, id) where ended = 9223372036854775807;

-- The walk that _since and _until narrow.
create index version_changed on version (type, changed, place);

-- Deletions are few: an increment finds them without walking what was written.
create index version_deleted on version (type, changed, place) where size = 0;

-- What pruning looks for.
create index version_ended on version (ended) where ended < 9223372036854775807;

-- Compact JSON in UTF-8, as it came.
create table body (
  key integer primary key,
  body text
);

-- Transaction times that must stay readable, by job.
create table pin (
  job text primary key,
  t integer not null,
  expires integer not null
) without rowid;

-- What the store held at a pinned T.
create table total (
  t integer not null,
  type integer not null,
  resources integer not null,
  bytes integer not null,
  primary key (t, type)
) without rowid;
