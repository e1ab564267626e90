"""Faults put into the engine itself: the simulation is worth something only if it finds each of them."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import NamedTuple


class Mutation(NamedTuple):
    """`where` is module:function; in its source, `new` stands in place of `old`. `kind`: of which kind the seeds are
    that can show it."""

    where: str
    old: str
    new: str
    kind: str = "any"


MUTATIONS = {
    "a failure is not quarantined first": Mutation(
        "reconciler.engine.together:decide", "quarantine=reason,", "quarantine=None,"
    ),
    "what is quarantined is tried again": Mutation(
        "reconciler.model.gates:_quarantine", "or why is None:", "or True:"
    ),
    "the push is retried without asking the remote": Mutation(
        "reconciler.engine.revert:attempt",
        "if done := mirror.find_trailer(",
        "if done := (lambda *a, **k: None)(",
    ),
    "a pin that was moved meanwhile is reverted": Mutation(
        "reconciler.engine.pins:_put_back", "if node != failed:", "if False:"
    ),
    "reverted although nobody wants it": Mutation(
        "reconciler.engine.revert:_revert",
        'policy = wanted.environment.policy.revert if wanted else "push"',
        'policy = "push"',
    ),
    "a refused push counts as pushed": Mutation(
        "reconciler.engine.revert:deliver",
        "    core.repository.mirror.push(commit)\n",
        "    with __import__('contextlib').suppress(UgsError):\n        core.repository.mirror.push(commit)\n"
        "    return\n",
    ),
    "the journal is written after the effect": Mutation(
        "reconciler.engine.core:Core.step",
        '    self.store.begin(upgrade.operation, name)\n    self.failpoint(f"{name}:begun")\n    try:\n'
        "        result = await self.drive(upgrade.environment, call, *args, **kwargs)\n",
        "    try:\n        try:\n            result = await self.drive(upgrade.environment, call, *args, **kwargs)\n"
        "        finally:\n            self.store.begin(upgrade.operation, name)\n",
    ),
    "gates are looked at when planned alone": Mutation(
        "reconciler.engine.upgrade:_reconsidered", "if closed := control.closed():", 'if closed := "":'
    ),
    "holds are overlooked": Mutation(
        "reconciler.model.gates:_hold",
        'return rules.from_opening("hold", state)',
        'return Gate("hold", open=True)',
    ),
    "windows are overlooked": Mutation(
        "reconciler.model.rules:window",
        "return _strictest(",
        'return Gate("window", open=True) or (',
        kind="windows",
    ),
    "approvals are overlooked": Mutation(
        "reconciler.model.rules:approval",
        "return _strictest(",
        'return Gate("approval", open=True) or (',
        kind="approvals",
    ),
    "everything starts at once": Mutation(
        "reconciler.model.gates:_concurrency", "len(around.busy) < limit", "len(around.busy) < limit + 9"
    ),
    "what is stale counts as news": Mutation(
        "reconciler.model.gates:_stale", "if around.fetched_at is not None and", "if True or"
    ),
    "unknown counts as healthy": Mutation(
        "reconciler.engine.outcome:concluded", 'case "healthy":', 'case "healthy" | "unknown":'
    ),
    "unknown counts as failed": Mutation(
        "reconciler.engine.outcome:concluded", 'case "failed":', 'case "failed" | "unknown":'
    ),
    "nothing soaks": Mutation(
        "reconciler.engine.verify:verify",
        "verdict.begin(work.release.health,",
        "verdict.begin(replace(work.release.health, soak_s=0.0),",
    ),
    "reverted, and nothing was restored": Mutation(
        "reconciler.engine.restore:restore",
        'await core.step(upgrade, "restore",',
        '(lambda *_: None)(upgrade, "restore",',
    ),
    "a rewritten branch is taken as it comes": Mutation(
        "reconciler.engine.repository:Repository.fetch", "if not accept_rewrite:", "if False:"
    ),
    "what a former daemon left under way is forgotten": Mutation(
        "reconciler.engine.reconcile:EnvironmentPass.resume",
        "if not (under_way and poison",
        "if not (False and poison",
    ),
    "a notice counts as delivered before it is": Mutation(
        "reconciler.notify.outbox:Outbox._send",
        "        await self._sender.tell(notice, thread)\n        self._rows.delivered([rows[0].id])\n",
        "        self._rows.delivered([rows[0].id])\n        await self._sender.tell(notice, thread)\n",
    ),
    "what is known to be another daemon's is acted upon": Mutation(
        "reconciler.engine.fence:Fence.check",
        'standing == "elsewhere"',
        'standing == "nowhere"',
        kind="leased",
    ),
    "a lease that has ended counts as held": Mutation(
        "reconciler.model.lease:standing",
        'if now_s < lease.grip.until_s else "unsure"',
        "if True else ''",
        kind="leased",
    ),
    "the next batch asks no gate": Mutation(
        "reconciler.engine.batch:prove",
        "if shut := await control.paused():",
        'if shut := "":',
        kind="batches",
    ),
    "all instances are replaced at once": Mutation(
        "reconciler.engine.batch:batch_of",
        "counts = batches(work, ENGINES[kind]) if upgrade.before else",
        "counts =",
        kind="batches",
    ),
    "what was left goes on before it is read what others did": Mutation(
        "reconciler.engine.fence:Fence.check",
        "or self._leases.behind_s(name) is not None",
        "or False",
        kind="paired",
    ),
    "a lease is taken before it has run out": Mutation(
        "reconciler.model.lease:_free_s",
        "seen.claim.lasts_s * PATIENCE",
        "0.1",
        kind="leased",
    ),
    "what another daemon did meanwhile is not read": Mutation(
        "reconciler.engine.remote_lease:RemoteLeases._follow",
        "self._behind_s[name] = self._clock.monotonic()",
        "pass",
        kind="paired",
    ),
    "quarantine is not read back from Git": Mutation(
        "reconciler.engine.recovery:Recall._learn",
        "store.recall_quarantine(quarantined(name, bad))",
        "pass",
        kind="lost",
    ),
    "what Git says succeeded is not last-good": Mutation(
        "reconciler.engine.recovery:Recall._learn",
        "store.healthy(work, at=self._since(name, one))",
        "pass",
        kind="lost",
    ),
    "what is stuck is not quarantined in Git": Mutation(
        "reconciler.engine.core:Core.move",
        "quarantined=quarantine is not None",
        "quarantined=False",
        kind="lost",
    ),
    "what another daemon has applied counts as drift": Mutation(
        "reconciler.engine.drift:Drifts.mend",
        "if not held or recovery",
        "if recovery",
        kind="paired",
    ),
    "what another daemon tried is not quarantined here when it fails again": Mutation(
        "reconciler.store.quarantines:Quarantines.quarantine",
        "released_at IS NOT NULL",
        "released_at IS 0",
        kind="paired+kept",
    ),
    "an older database is not noticed": Mutation(
        "reconciler.store.opening:_lost",
        "if newest is None or",
        "if True or",
        kind="lost",
    ),
    "the remote is not asked how far the database had come": Mutation(
        "reconciler.engine.recovery:Recall._compare",
        "if head is None or",
        "if True or",
        kind="lost",
    ),
    "safe mode closes no gate": Mutation(
        "reconciler.model.gates:_recovery",
        "if around.recovery is None or",
        "if True or",
        kind="lost",
    ),
    "what an older database left under way goes on": Mutation(
        "reconciler.engine.recovery:Recall._end_the_unknown",
        "if upgrade.phase not in ends or",
        "if True or",
        kind="lost",
    ),
    "in safe mode all that lacks is started again": Mutation(
        "reconciler.engine.upkeep:known_since",
        "if recovery is None:",
        "if True:",
        kind="lost",
    ),
    "a broken database is borne with": Mutation(
        "reconciler.engine.endure:until_damaged", "store.mourners.append(heard.set)", ""
    ),
    "a migration comes before its backup is verified": Mutation(
        "reconciler.engine.data.backups:Backups.take",
        'await self._verify(backup, await self._save("backup", "upgrade", backup))',
        'await self._save("backup", "upgrade", backup)',
        kind="data",
    ),
    "a migration that a crash cut short is begun anew": Mutation(
        "reconciler.engine.data.migrations:Migrations.move",
        "migration, anew=anew, note=begin",
        "migration, anew=True, note=begin",
        kind="data",
    ),
    "a migration that was cut short counts as not applied": Mutation(
        "reconciler.model.data:settled",
        "applied = None if code is None or code < 0 or timed_out else (code == 0) is up",
        "applied = (code == 0) is up",
        kind="data",
    ),
    "the check of a migration is not asked": Mutation(
        "reconciler.engine.data.migrations:Migrations.move",
        "await self._ask(migration) if migration.check else",
        "(outcome.code == 0, '') if migration.check else",
        kind="data",
    ),
    "what is applied already is applied again": Mutation(
        "reconciler.model.data:to_apply",
        'recorded[one.id].state != "done"',
        "True",
        kind="data",
    ),
    "what runs already has no migrations behind it": Mutation(
        "reconciler.engine.data.account:adopt_migrations",
        "if (state is None and (before or not ours)) or",
        "if False or",
        kind="data",
    ),
    "a migration is on record only once it has run": Mutation(
        "reconciler.engine.data.migrations:Migrations.move",
        "begin = partial(self.note, migration.id, under_way) if anew else None",
        "begin = None",
        kind="data",
    ),
    "the new version starts before its migrations": Mutation(
        "reconciler.engine.upgrade:_apply",
        'await steward.migrate("before")',
        "pass",
        kind="data",
    ),
    "the old version starts on what the new one left": Mutation(
        "reconciler.engine.data:Steward.take_back",
        "if plan.reason or plan.how in",
        "if True or plan.how in",
        kind="data",
    ),
    "data go back under the version that failed": Mutation(
        "reconciler.engine.data:Steward.take_back",
        'await self._core.step(self._upgrade, "stop", self._stop_new)',
        "pass",
        kind="data",
    ),
    "migrations are undone in the order in which they were applied": Mutation(
        "reconciler.model.data:recall",
        "for one in reversed(ordered)",
        "for one in ordered",
        kind="data",
    ),
    "a backup of any age is brought back": Mutation(
        "reconciler.model.data:refused",
        "if age_s > within_s:",
        "if False:",
        kind="data",
    ),
    "nothing is saved before a backup is brought back": Mutation(
        "reconciler.engine.data.backups:Backups.bring_back",
        "if not self.coming_back:",
        "if False:",
        kind="data",
    ),
    "the only good backup is removed": Mutation(
        "reconciler.model.data:surplus",
        "if one is not best and (rank >= rule.keep or",
        "if (rank >= 0 or",
        kind="data",
    ),
    "a service whose data are in doubt is not held": Mutation(
        "reconciler.engine.data.account:hold",
        "core.store.hold(",
        "(lambda *_, **__: None)(",
        kind="data",
    ),
    "data are worked on without the lease": Mutation(
        "reconciler.engine.data.commands:Commands._ours",
        "await self.core.fence.passed()",
        "pass",
        kind="data+leased",
    ),
    "what was removed is migrated unsaved": Mutation(
        "reconciler.engine.data:Steward._has_data",
        "return migrates and",
        "return False and",
        kind="data",
    ),
    "data that nobody carries on are not held": Mutation(
        "reconciler.engine.poison:take_up",
        "data.abandon(core, upgrade, reason)",
        "pass",
        kind="data+killed-in-command",
    ),
    "a pin that is out of sight counts as removed": Mutation(
        "reconciler.model.plan:unwanted",
        "if desired.hidden or not",
        "if not",
        kind="prune+bad-file",
    ),
    "what is not pinned is stopped, whatever the policy says": Mutation(
        "reconciler.model.plan:unwanted", "or desired.environment.policy.prune)", "or True)"
    ),
    "the guard of removals is not asked": Mutation(
        "reconciler.model.removal:much",
        "return removed > 0 and (",
        "return False and (",
        kind="prune",
    ),
    "what a push removes is not counted": Mutation(
        "reconciler.model.removal:guard",
        "if asked and much(",
        "if False and much(",
        kind="prune",
    ),
    "a pin that has come back is removed all the same": Mutation(
        "reconciler.engine.heed:Heed.closed_now",
        "if upgrade.pinned is None and service not in wanted:",
        "if False:",
        kind="prune",
    ),
    "what another service needs is removed": Mutation(
        "reconciler.model.gates:_dependency",
        "if refused := around.refused.get(change.service):",
        "if refused := '':",
        kind="prune",
    ),
    "an environment that is gone is not written down": Mutation(
        "reconciler.engine.fleet:Fleet.refresh",
        "await rename.keep_lost(core, lost, reading, self._resolvers)",
        "pass",
        kind="departs",
    ),
    "an environment is let go while all that is left of it is down": Mutation(
        "reconciler.engine.reconcile:EnvironmentPass._pass",
        "left = observed or records.removing or self.busy",
        "left = observed or self.busy",
        kind="departs+rebooted",
    ),
    "what goes with a whole environment is not counted": Mutation(
        "reconciler.engine.past:Past._tell",
        "if ended else pinned,",
        "if ended else frozenset(),",
        kind="departs+prune",
    ),
    "what is known of an environment keeps its former name": Mutation(
        "reconciler.store.renames:Renames.rename",
        "for sql in MOVED:",
        "for sql in MOVED[1:]:",
        kind="renames",
    ),
    "the host does not hear of a new name": Mutation(
        "reconciler.engine.rename:_carry_over",
        "await core.drive(new, driver.rename, core.site_of(new), old, new)",
        "pass",
        kind="renames",
    ),
    "who has another name asks for everything anew": Mutation(
        "reconciler.engine.past:Past._renamed_at",
        'return old if then.name not in known else ""',
        'return ""',
        kind="renames",
    ),
    "a name that was given up long ago is not to be had again": Mutation(
        "reconciler.engine.rename:carry_over",
        "if heir not in (name, said, old):",
        "if heirs.get(name, said) != said:",
        kind="renames",
    ),
    "a name that was given before the last is not looked for": Mutation(
        "reconciler.engine.rename:formers",
        "now = known_as(name, old, before, known, heirs)",
        "pass",
        kind="renames",
    ),
    "a proof takes so long as the wall clock says": Mutation(
        "reconciler.engine.verify:Prover.__init__",
        "self.clock = Steady(core.clock)",
        "self.clock = core.clock",
        kind="clocks",
    ),
    "a call waits for the hour that the clock was set back": Mutation(
        "reconciler.engine.mail:carry_notes",
        "if abs(clock.catch_up()) > SET_MAX_S:",
        "if False:",
        kind="clocks+slack-down",
    ),
    "what this machine hindered waits until the clock has caught up": Mutation(
        "reconciler.model.gates:_host",
        "not now < parked[1] <= now + timedelta(seconds=PARK_MAX_S)",
        "not now < parked[1]",
        kind="clocks+engine-flaky",
    ),
    "the backup that was just taken is the oldest by the clock": Mutation(
        "reconciler.model.data:surplus",
        "(one.id == newest, one.saved_at, one.id)",
        "(one.saved_at, one.id)",
        kind="clocks+backup-rots",
    ),
    "a backup of the future is young": Mutation(
        "reconciler.model.data:refused", "if age_s < 0:", "if False:", kind="clocks+data"
    ),
    "Git is not told before data are migrated": Mutation(
        "reconciler.engine.data.account:tell",
        "if upgrade.rollout or",
        "if True or",
        kind="paired+data",
    ),
    "what Git says of the data is not learned": Mutation(
        "reconciler.engine.data.account:Recalled.record",
        "core.store.migrated(row)",
        "pass",
        kind="lost+data",
    ),
    "what runs is adopted before Git was asked of it": Mutation(
        "reconciler.engine.reconcile:EnvironmentPass._pass",
        "if core.desired.fetched_at:",
        "if True:",
        kind="lost+data",
    ),
    "what is under way under an older lease is ended at once": Mutation(
        "reconciler.engine.recovery:_is_under_way", "return any(", "return False and any(", kind="promoted"
    ),
    "what an older database says of data still counts": Mutation(
        "reconciler.engine.data.account:_rows", "under_way if lost else", "() if lost else", kind="lost+data"
    ),
    "data that were lost sight of hold nothing": Mutation(
        "reconciler.engine.data.account:Recalled.record",
        "hold(core, environment, service, reason)",
        "pass",
        kind="lost+data",
    ),
    "what was removed has left no data": Mutation(
        "reconciler.engine.data.account:_removed",
        "await describe(service, target)",
        "None",
        kind="lost+data",
    ),
    "what another daemon may have migrated is started again": Mutation(
        "reconciler.engine.upkeep:Repairs._is_strange",
        "return leases.is_shared(name) and",
        "return False and",
        kind="paired+data",
    ),
    "trust is asked of the tip alone": Mutation(
        "reconciler.engine.trust:Guard.judge",
        "in _pages(arrived):",
        "in _pages(arrived[-1:]):",
        kind="trusted",
    ),
    "what is not signed is followed": Mutation(
        "reconciler.engine.trust:Guard._after",
        "if signature.why:",
        "if False:",
        kind="trusted",
    ),
    "what was merged is trusted with the merge": Mutation(
        "reconciler.engine.trust:Guard._after",
        "for signature in signatures:",
        "for signature in signatures[-1:]:",
        kind="everything",
    ),
    "notes do not say under which epoch": Mutation(
        "reconciler.model.git_notes:line_of", "if upgrade.epoch:", "if False:", kind="skewed"
    ),
    "any signer may move any environment": Mutation(
        "reconciler.model.trust:Rule.permits",
        "return patterns is None or",
        "return True or",
        kind="trusted",
    ),
    "a stranger's word releases what failed": Mutation(
        "reconciler.engine.trust:Guard.may_release",
        "if environment not in self.rule.movers:",
        "if True:",
        kind="trusted",
    ),
    "a stranger's word released what is forgotten here": Mutation(
        "reconciler.engine.trust:Guard.permits",
        "if environment not in self.rule.movers or",
        "if True or",
        kind="lost+trusted",
    ),
    "what failed on other hosts is not shut out here": Mutation(
        "reconciler.engine.share:follow",
        "if core.store.quarantine_of(one.operation) is None:",
        "if False:",
        kind="hosts",
    ),
    "what failed on all hosts is begun again where nothing here is against it": Mutation(
        "reconciler.engine.share:_shut", "if one.operation in kept", "if False", kind="hosts"
    ),
    "a host says that it failed before it has restored": Mutation(
        "reconciler.engine.share:_report", "row.failed and row.final and", "row.failed and", kind="hosts"
    ),
    "a rollout has succeeded where one host has it": Mutation(
        "reconciler.model.hosts:_judged",
        'len(found["succeeded"]) == len(environment.hosts)',
        'found["succeeded"]',
        kind="hosts",
    ),
    "what goes back on all hosts is not shut out": Mutation(
        "reconciler.model.hosts:progressed", 'elif after.state == "failing":', "elif False:", kind="hosts"
    ),
    "no host waits for its turn": Mutation(
        "reconciler.model.progressive:turn",
        "if mine is not None and now >= mine:",
        "if mine is not None:",
        kind="hosts",
    ),
    "no host waits for a rollout to begin": Mutation(
        "reconciler.model.gates:_rollout", "if not place.hosts or", "if True or", kind="hosts"
    ),
    "what is pushed late takes the place of what was said since": Mutation(
        "reconciler.model.git_notes:is_outdated",
        "return 0 < said.epoch < known.epoch",
        "return False",
        kind="hosts",
    ),
    "what was to be proposed is pushed": Mutation(
        "reconciler.engine.revert:put_back", 'if policy == "push":', "if True:", kind="proposed"
    ),
    "what a person has pushed on a proposal is taken for ours": Mutation(
        "reconciler.engine.revert:as_it_stands", "if ours else known", "if True else known", kind="proposed"
    ),
    "who was killed over a proposal takes it for a person's": Mutation(
        "reconciler.engine.revert:as_it_stands",
        "if there in (None, known.commit):",
        "if True:",
        kind="proposed",
    ),
    "a proposal that was closed is opened again": Mutation(
        "reconciler.engine.pull_requests.reverts:Follower._pull",
        "return await asyncio.to_thread(forge.pull_from, one.branch) if forge else None",
        "pull = await asyncio.to_thread(forge.pull_from, one.branch) if forge else None\n"
        '    return pull if pull and pull.state == "open" else None',
        kind="proposed",
    ),
    "merged without trailers counts as moot": Mutation(
        "reconciler.engine.pull_requests.reverts:Follower._follow",
        'if pull and pull.state == "merged" and not commit:',
        "if False:",
        kind="proposed",
    ),
    "what may be tried again is proposed back still": Mutation(
        "reconciler.engine.pull_requests.reverts:Follower._released",
        "return not any(",
        "return False and not any(",
        kind="proposed",
    ),
    "a proposal stays as its file was once": Mutation(
        "reconciler.engine.pull_requests.reverts:Follower._follow",
        "if standing.outdated:",
        "if False:",
        kind="proposed",
    ),
    "what a person or a revert has moved away is promoted again": Mutation(
        "reconciler.engine.promotion_commits:_before",
        "if done or past.pinned(",
        "if False and past.pinned(",
        kind="promoted",
    ),
    "what has not soaked is promoted": Mutation(
        "reconciler.model.rules:soaked", "if now >= due:", "if True:", kind="promoted"
    ),
    "a degradation does not begin the soak anew": Mutation(
        "reconciler.engine.soak:unbroken", "max(since, one.since), False", "since, False", kind="promoted"
    ),
    "what is held is promoted": Mutation(
        "reconciler.model.promotion:_here", "if not held.open:", "if False:", kind="promoted"
    ),
    "an upgrade under way is overtaken by a promotion": Mutation(
        "reconciler.engine.trains:_busy",
        "return fleet.passes[name].engaged if",
        "return frozenset() if",
        kind="promoted",
    ),
    "what is said while Git is looked into is not heeded": Mutation(
        "reconciler.engine.pull_requests.promotions:Promoter._carry_out",
        "if not self._still_due(",
        "if False and not self._still_due(",
        kind="promoted",
    ),
    "a promotion whose answer was lost is not told": Mutation(
        "reconciler.engine.pull_requests.promotions:Promoter._settle",
        'if (became := await core.git(fate, core, pushed.commit)) == "arrived":',
        "if False:",
        kind="promoted",
    ),
    "what is pushed is not remembered first": Mutation(
        "reconciler.engine.pull_requests.promotions:Promoter._carry_out",
        'core.store.mark(mark := f"{PROMOTION}{name} {made}", encode(pushed).decode())',
        "mark = made",
        kind="promoted",
    ),
    "a promotion is made on what is in force no longer": Mutation(
        "reconciler.engine.promotion_commits:commit_of",
        "if tip != desired.revision:",
        "if False:",
        kind="promoted",
    ),
    "steps that are left to people are promoted": Mutation(
        "reconciler.model.promotion:_scope", "elif step not in rule.classes:", "elif False:", kind="promoted"
    ),
    "a policy that is taken away meanwhile ends the daemon": Mutation(
        "reconciler.engine.trains:train_of", "| {name: desired.environment}", "| {}", kind="promoted"
    ),
    "pins are promoted downwards": Mutation(
        "reconciler.model.promotion:_alone",
        "if found.version <= pin.version:",
        "if found.version == pin.version:",
        kind="promoted",
    ),
    "what staging has moved away from is promoted": Mutation(
        "reconciler.model.promotion:_before",
        "if there is None or there < found.version:",
        "if False:",
        kind="promoted",
    ),
    "nobody looks again once it has soaked": Mutation(
        "reconciler.engine.pull_requests.promotions:Promoter.keep",
        "await core.clock.wait(core.wake.promotions, min(LOOK_S, max(LOOK_MIN_S, left_s)))",
        "await core.wake.promotions.wait()",
        kind="promoted",
    ),
    "what a person has closed counts as moot": Mutation(
        "reconciler.model.pulls:deed", 'kept.closing or "refused")', 'kept.closing or "moot")', kind="asked"
    ),
    "what people have pushed on a branch of the daemon's is overwritten": Mutation(
        "reconciler.engine.pull_requests.keeper:Keeper._found",
        '"ours" if ours else "theirs"',
        '"ours"',
        kind="asked",
    ),
    "what comes no more stays asked for": Mutation(
        "reconciler.model.promotion:moot", "and not ask.unknown", "and False", kind="asked"
    ),
    "what is closed is closed without a word": Mutation(
        "reconciler.engine.pull_requests.moves:Hands.closed",
        "if not any(rules.CLOSED_MARK in comment.body for comment in said):",
        "if False:",
        kind="asked",
    ),
    "what only waits is closed": Mutation(
        "reconciler.engine.pull_requests.promotion_pulls:PromotionPulls._look",
        "unknown = [branch for branch, why in ends.items() if not why and branch not in asking]",
        "unknown = []",
        kind="asked",
    ),
    "what was not looked at is closed": Mutation(
        "reconciler.engine.pull_requests.promotion_pulls:PromotionPulls._ends",
        "if one.environment not in found:",
        "if not found.get(one.environment):",
        kind="asked",
    ),
    "a branch stays as its file was once": Mutation(
        "reconciler.engine.pull_requests.keeper:_alike",
        "and mirror.blob_at(base, path) == mirror.blob_at(tip, path)",
        "",
        kind="asked",
    ),
    "one whose policy is gone stays open": Mutation(
        "reconciler.engine.pull_requests.promotion_pulls:PromotionPulls._ends",
        'f"policy.promote of {one.environment} asks for no pull requests"',
        '""',
        kind="asked",
    ),
    "what is open is not told where the next one fails": Mutation(
        "reconciler.engine.pull_requests.moves:Hands._told",
        'if event == "opened":',
        "if False:",
        kind="asked",
    ),
    "what people end while it waits is not known": Mutation(
        "reconciler.engine.pull_requests.keeper:Keeper.round",
        "if (kept or branch not in unknown) and",
        "if branch not in unknown and",
        kind="asked",
    ),
    "it is closed on a tip that nobody has looked at": Mutation(
        "reconciler.engine.pull_requests.promotion_pulls:PromotionPulls._look",
        "if view.tip != tip:",
        "if False:",
        kind="asked",
    ),
    "what the branch refused before a start is forgotten": Mutation(
        "reconciler.engine.pull_requests.promotions:Promoter._asking",
        "name in refused)",
        "name in self._protected)",
        kind="asked",
    ),
    "a new version is not said": Mutation(
        "reconciler.engine.pull_requests.moves:Hands.said",
        "if rules.is_said(wanted, kept):",
        "if True:",
        kind="asked",
    ),
    "of another daemon's environment our own records tell": Mutation(
        "reconciler.engine.soak:here",
        'return core.leases.standing(core.share(environment)) == "held"',
        "return True",
        kind="paired+promoted",
    ),
    "what another daemon proved need not soak": Mutation(
        "reconciler.engine.soak:proved",
        "last.since or last.at, DEGRADED if",
        "datetime.min.replace(tzinfo=last.at.tzinfo), DEGRADED if",
        kind="paired+promoted",
    ),
    "what degrades elsewhere is promoted": Mutation(
        "reconciler.engine.soak:proved",
        'DEGRADED if last.degraded else ""',
        '""',
        kind="paired+promoted",
    ),
    "a promotion is told by who has the lease alone": Mutation(
        "reconciler.engine.pull_requests.promotions:Promoter._settle",
        "if name not in core.desired:",
        "if name not in core.desired or not core.leases.opening(name).open:",
        kind="paired+promoted",
    ),
}
"""By name: what somebody might break."""


@contextlib.contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The engine with this mutation in it, wherever the function is already known."""
    function = _function(mutation.where)
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(mutation.old) != 1:
        raise LookupError(f"{mutation.where} no longer says {mutation.old!r}: write the mutation anew")
    scope: dict[str, FunctionType] = {}
    text = f"from __future__ import annotations\n{source.replace(mutation.old, mutation.new)}"
    exec(compile(text, f"<{mutation.where}>", "exec"), function.__globals__, scope)
    whole, function.__code__ = function.__code__, scope[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = whole


def _function(where: str) -> FunctionType:
    module, _, path = where.partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    assert isinstance(found, FunctionType), where
    return found
