"""The tables, a migration after the other. One that was released is never edited: add the next."""

from reconciler.store.eighth import EIGHTH

FIRST = """
CREATE TABLE versions (            -- targets seen here, with all that is needed to bring them back
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    target TEXT NOT NULL,
    version TEXT NOT NULL,
    release_digest TEXT NOT NULL,
    workload TEXT NOT NULL,        -- JSON
    revision TEXT NOT NULL,
    frozen_at TEXT NOT NULL,       -- when first deployed or quarantined here
    first_deployed_at TEXT,        -- NULL: quarantined before it ever ran
    healthy_at TEXT,
    healthy_seq INTEGER,           -- the highest of a service is its last-good
    PRIMARY KEY (environment, service, target)
) STRICT;
CREATE INDEX versions_good ON versions (environment, service, healthy_seq) WHERE healthy_seq IS NOT NULL;
CREATE INDEX versions_by_release ON versions (service, version);

CREATE TABLE upgrades (
    operation TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    phase TEXT NOT NULL,
    final INTEGER NOT NULL,
    revision TEXT NOT NULL,
    from_target TEXT NOT NULL,     -- '' for none
    to_target TEXT NOT NULL,       -- '' for none
    created_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    ended_at TEXT,
    value TEXT NOT NULL            -- JSON of the whole Upgrade
) STRICT;
CREATE INDEX upgrades_by_age ON upgrades (created_at);
CREATE INDEX upgrades_unfinished ON upgrades (created_at) WHERE final = 0;
CREATE INDEX upgrades_by_change ON upgrades (environment, service, revision);

CREATE TABLE steps (               -- the journal: begun before the effect, ended after it
    operation TEXT NOT NULL,
    step TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT,
    outcome TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (operation, step)
) STRICT;

CREATE TABLE health_status (       -- transitions
    id INTEGER PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    state TEXT NOT NULL,
    since TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX health_by_service ON health_status (environment, service, id);

CREATE TABLE rollback_records (    -- targets that failed: in quarantine until released
    operation TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    failed_target TEXT NOT NULL,
    restored_target TEXT,
    reason TEXT NOT NULL,
    quarantined_at TEXT NOT NULL,
    revert_commit TEXT,
    released_at TEXT,
    released_by TEXT,
    release_reason TEXT
) STRICT;
CREATE INDEX quarantines_open ON rollback_records (environment, service) WHERE released_at IS NULL;

CREATE TABLE maintenance_logs (    -- the audit; AUTOINCREMENT remembers the highest id ever given
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    operation TEXT NOT NULL,
    actor TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER maintenance_logs_no_update BEFORE UPDATE ON maintenance_logs
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER maintenance_logs_no_delete BEFORE DELETE ON maintenance_logs
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER maintenance_logs_no_replace BEFORE INSERT ON maintenance_logs
WHEN EXISTS (SELECT 1 FROM maintenance_logs WHERE id = new.id)
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    key TEXT NOT NULL,             -- the operation; '' stands alone
    payload TEXT NOT NULL,         -- JSON
    created_at TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at TEXT NOT NULL,
    done_at TEXT,
    error TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX outbox_pending ON outbox (channel, next_at) WHERE done_at IS NULL;
CREATE INDEX outbox_by_key ON outbox (channel, key) WHERE done_at IS NULL;

CREATE TABLE threads (             -- where the message of an upgrade stands
    operation TEXT PRIMARY KEY,
    channel TEXT NOT NULL,
    ts TEXT NOT NULL
) STRICT;

CREATE TABLE marks (               -- small facts, such as the baseline of an environment
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
"""

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

THIRD = """
CREATE TABLE advances (            -- what each fetch brought into force, the newest last
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    before TEXT NOT NULL UNIQUE,   -- the commit that was in force
    tip TEXT NOT NULL
) STRICT;
"""

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

FIFTH = """
CREATE TABLE adoptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    what TEXT NOT NULL,            -- what is not ours, as the driver named it
    reason TEXT NOT NULL,
    person TEXT NOT NULL,
    at TEXT NOT NULL,
    until TEXT NOT NULL,
    used_at TEXT,
    withdrawn_at TEXT,
    withdrawn_by TEXT
) STRICT;
"""

SIXTH = """
CREATE TABLE slots (               -- given by this daemon's FleetLock server
    slot_group TEXT NOT NULL,
    client TEXT NOT NULL,
    taken_at TEXT NOT NULL,
    PRIMARY KEY (slot_group, client)
) STRICT;

CREATE TABLE held_slots (          -- that upgrades of this daemon hold, or asked for
    environment TEXT NOT NULL,
    service TEXT NOT NULL,
    operation TEXT NOT NULL,
    slot_group TEXT NOT NULL,
    url TEXT,                      -- of another server
    PRIMARY KEY (environment, service, operation)
) STRICT;
"""

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

MIGRATIONS = (FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH, SEVENTH, EIGHTH)
