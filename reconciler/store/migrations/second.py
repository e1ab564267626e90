"""Holds, approvals and overrides."""

SECOND = """
CREATE TABLE holds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    service TEXT,                  -- NULL: all of the environment
    reason TEXT NOT NULL,
    owner TEXT NOT NULL,
    since TEXT NOT NULL,
    until TEXT,                    -- NULL: until it is released
    released_at TEXT,
    released_by TEXT
) STRICT;
CREATE INDEX holds_in_force ON holds (environment) WHERE released_at IS NULL;

CREATE TABLE approvals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    ask TEXT NOT NULL,             -- JSON: all that it is bound to
    approver TEXT NOT NULL,
    at TEXT NOT NULL,
    until TEXT NOT NULL,
    withdrawn_at TEXT,
    withdrawn_by TEXT
) STRICT;
CREATE INDEX approvals_in_force ON approvals (environment, until) WHERE withdrawn_at IS NULL;

CREATE TABLE overrides (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    service TEXT,                  -- NULL: all of the environment
    gate TEXT NOT NULL,
    reason TEXT NOT NULL,
    person TEXT NOT NULL,
    at TEXT NOT NULL,
    until TEXT NOT NULL,
    confirmed_at TEXT,             -- NULL: an open question
    confirmed_by TEXT
) STRICT;
CREATE INDEX overrides_by_end ON overrides (environment, until);
CREATE INDEX overrides_open ON overrides (environment) WHERE confirmed_at IS NULL;
"""
