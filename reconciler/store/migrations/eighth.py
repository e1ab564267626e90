"""The eighth migration. It is not released yet: what else this version needs is added to it."""

EIGHTH = """
CREATE TABLE probe_hours (         -- what every probe came to, by the hour, over all instances
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    probe TEXT NOT NULL,
    hour TEXT NOT NULL,            -- its beginning
    samples INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    doubtful INTEGER NOT NULL,     -- the check could not be made
    sum_s REAL NOT NULL,           -- of the latencies of what was healthy
    max_s REAL NOT NULL,
    n0 INTEGER NOT NULL,           -- how many of these were within the first of the bounds of model/probed.py,
    n1 INTEGER NOT NULL,           -- the second, and so on; the last: beyond them all
    n2 INTEGER NOT NULL,
    n3 INTEGER NOT NULL,
    n4 INTEGER NOT NULL,
    n5 INTEGER NOT NULL,
    n6 INTEGER NOT NULL,
    n7 INTEGER NOT NULL,
    n8 INTEGER NOT NULL,
    n9 INTEGER NOT NULL,
    n10 INTEGER NOT NULL,
    n11 INTEGER NOT NULL,
    PRIMARY KEY (environment, service, probe, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX probe_hours_by_age ON probe_hours (hour);

CREATE TABLE previews (            -- open pull requests, and what was said there: forgotten when they end
    number INTEGER PRIMARY KEY,
    value TEXT NOT NULL            -- JSON
) STRICT;
CREATE TABLE pulls (               -- pull requests that are kept up: bumps and promotions, a row for each ever opened
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,            -- bump, promote
    branch TEXT NOT NULL,
    environment TEXT NOT NULL,
    state TEXT NOT NULL,           -- open; merged, refused (closed by a person), moot
    opened_at TEXT NOT NULL,
    value TEXT NOT NULL            -- JSON
) STRICT;
CREATE INDEX pulls_by_kind ON pulls (kind, id);
ALTER TABLE approvals ADD COLUMN via TEXT NOT NULL DEFAULT '';     -- the pull request where it was given by a review
ALTER TABLE approvals ADD COLUMN owner INTEGER NOT NULL DEFAULT 0; -- of a review: by an owner, by CODEOWNERS
ALTER TABLE approvals ADD COLUMN known INTEGER NOT NULL DEFAULT 1; -- of a review: ugs.yaml says who the account is
"""
