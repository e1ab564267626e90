"""Migrations and backups of services' data."""

FOURTH = """
CREATE TABLE migrations (          -- of services' data: each is applied once in an environment
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    id TEXT NOT NULL,
    version TEXT NOT NULL,         -- the release for which it was touched last
    operation TEXT NOT NULL,
    state TEXT NOT NULL,           -- begun, done, failed, undoing, undone, unknown
    changed_at TEXT NOT NULL,
    evidence TEXT NOT NULL,
    proven INTEGER NOT NULL,       -- 1: a version proved healthy since
    PRIMARY KEY (environment, service, id)
) STRICT;

CREATE TABLE backups (             -- of services' data
    id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    operation TEXT NOT NULL,
    kind TEXT NOT NULL,            -- upgrade, rescue
    version TEXT NOT NULL,         -- what ran then
    path TEXT NOT NULL,
    state TEXT NOT NULL,           -- begun, saved, verified
    saved_at TEXT NOT NULL,        -- when the saving began
    verified_at TEXT,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL
) STRICT;
CREATE INDEX backups_by_service ON backups (environment, service, saved_at);
"""
