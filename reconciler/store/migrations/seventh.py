"""Tokens, sessions, answers, starts, flags and proposals of the API and of forges."""

SEVENTH = """
CREATE TABLE tokens (              -- of the API: what is kept cannot be used
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,            -- whose it is: the actor of all that it does
    hash TEXT NOT NULL UNIQUE,     -- SHA-256 of the whole token
    grants TEXT NOT NULL,          -- JSON: roles, each with environments and services
    made_at TEXT NOT NULL,
    made_by TEXT NOT NULL,
    expires_at TEXT,               -- NULL: when it is revoked
    used_at TEXT,                  -- to the minute
    revoked_at TEXT,
    revoked_by TEXT
) STRICT;

CREATE TABLE starts (              -- what a person started where nothing else starts it
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    ask TEXT NOT NULL,             -- JSON: what would change, from where, to where, by which commit
    person TEXT NOT NULL,
    reason TEXT NOT NULL,
    at TEXT NOT NULL,
    until TEXT NOT NULL
) STRICT;
CREATE INDEX starts_in_force ON starts (environment, until);

CREATE TABLE answers (             -- that were given under an Idempotency-Key
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,         -- SHA-256 of the route and the body
    status INTEGER,                -- NULL: it is being worked out, or was when the daemon ended
    body TEXT NOT NULL,            -- JSON
    at TEXT NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT;
CREATE INDEX answers_by_age ON answers (at);

CREATE INDEX maintenance_logs_by_operation ON maintenance_logs (operation, id) WHERE operation != '';

CREATE TABLE sessions (            -- of browsers, as long as they last: what is kept cannot be used
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash TEXT NOT NULL UNIQUE,     -- SHA-256 of the cookie
    name TEXT NOT NULL,            -- whose it is: the actor of all that is done in it
    grants TEXT NOT NULL,          -- JSON, as of tokens
    person TEXT,                   -- JSON: whom a provider vouched for; what he may do is looked up each time
    token INTEGER,                 -- the token by which it was begun, with which it ends; NULL: by another way
    made_at TEXT NOT NULL,
    ends_at TEXT NOT NULL
) STRICT;

ALTER TABLE outbox ADD COLUMN digest INTEGER NOT NULL DEFAULT 0;  -- 1: it waits to be told together with others

ALTER TABLE threads RENAME TO slack_threads;
CREATE TABLE threads (             -- where the message of an upgrade stands, in each channel
    operation TEXT NOT NULL,
    outbox TEXT NOT NULL,          -- the channel in the terms of `outbox`
    channel TEXT NOT NULL,         -- and in the messenger's own
    ts TEXT NOT NULL,
    PRIMARY KEY (operation, outbox)
) STRICT;
INSERT INTO threads SELECT operation, 'slack', channel, ts FROM slack_threads;
DROP TABLE slack_threads;

CREATE TABLE tallies (             -- what is counted for ever, beyond the rows that are dropped
    environment TEXT NOT NULL,
    class TEXT NOT NULL,
    event TEXT NOT NULL,           -- how an upgrade ended; window-passed
    count INTEGER NOT NULL,
    PRIMARY KEY (environment, class, event)
) STRICT;
CREATE TABLE feature_flags (       -- what was in force when, the newest row of a flag last: a cache of Git by revision
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    flag TEXT NOT NULL,
    revision TEXT NOT NULL,        -- the commit that made it so
    author TEXT NOT NULL,          -- empty where nothing was switched
    since TEXT NOT NULL,           -- when it came in force
    standing TEXT                  -- JSON: default, value and rules; NULL: nothing needs it any more
) STRICT;
CREATE INDEX feature_flags_of ON feature_flags (environment, flag, id);

CREATE TABLE proposals (           -- reverts as pull requests: followed until they are merged, closed or moot
    operation TEXT PRIMARY KEY,    -- the upgrade that failed
    environment TEXT NOT NULL,
    state TEXT NOT NULL,           -- open; merged, refused, moot
    value TEXT NOT NULL            -- JSON
) STRICT;
"""
