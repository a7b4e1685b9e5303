-- The embedded store, schema 5: pins that keep what was superseded.

-- The job also needs the versions whose life ended after this; null where it needs none but those at its T.
alter table pin add column history integer;
