"""What runs, what moves it, and who is told."""

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
