"""ugs.yaml and the environment become frozen settings; secrets stay references."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from reconciler import config
from reconciler.config import Identity, Secret, Settings, Trust, load
from reconciler.config.exposure import refuse_exposed
from reconciler.config.settings import SlackPerson
from reconciler.model.digest import Digest
from reconciler.model.environment import Window
from reconciler.model.errors import HostError, InputError, UgsError
from reconciler.model.rights import RoleGrant
from reconciler.model.routing import Match, Rule

WHOLE = """\
repository:
  url: "https://git.example/ops/fleet.git"
  branch: release/2026
  poll: 5s
  max_stale: 1h
  username: ugs
  password: {file: secrets/password}
  ssh_key: keys/id
  known_hosts: /etc/ssh/known
state: var
environments: [production]
drivers: [process]
artifacts: {allow: ["https://artifacts.example/", "file:///srv/"]}
identity: {name: UGS of ops, email: ugs@example.org}
secrets:
  db-password: {file: secrets/db, environments: [production], services: [api]}
notify:
  slack: {token: {env: SLACK_TOKEN}, channel: "#deploys", api: "http://127.0.0.1:9/api/"}
"""
LEAST = "repository: {url: fleet.git}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "ugs.yaml"
    path.write_text(text)
    return path


def settings(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    return load(written(folder, text), environ or {})


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        settings(folder, text)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


# What the file says


def test_everything_that_the_file_says_is_read(tmp_path: Path) -> None:
    read = settings(tmp_path, WHOLE)
    repository = read.repository
    assert (repository.url, repository.branch) == ("https://git.example/ops/fleet.git", "release/2026")
    assert (repository.poll_s, repository.max_stale_s, repository.username) == (5.0, 3600.0, "ugs")
    assert repository.ssh_key == tmp_path / "keys/id"
    assert repository.known_hosts == Path("/etc/ssh/known")
    assert read.file == tmp_path / "ugs.yaml"
    assert read.state == tmp_path / "var"
    assert (read.environments, read.drivers) == (("production",), ("process",))
    assert read.artifacts_allowed == ("https://artifacts.example/", "file:///srv/")
    assert read.identity == Identity("UGS of ops", "ugs@example.org")
    assert read.notify.slack is not None
    assert (read.notify.slack.channel, read.notify.slack.api) == ("#deploys", "http://127.0.0.1:9/api/")
    assert read.notify.slack.webhook is None


def test_what_the_file_does_not_say_has_its_default(tmp_path: Path) -> None:
    read = settings(tmp_path, LEAST)
    assert read.repository.branch == "main"
    assert (read.repository.poll_s, read.repository.max_stale_s) == (30.0, 600.0)
    assert (read.repository.password, read.repository.ssh_key) == (None, None)
    assert read.state == Path("/var/lib/ugs")
    assert (read.environments, read.drivers, read.artifacts_allowed) == ((), ("process",), ("https://",))
    assert read.identity == Identity("UGS", "ugs@localhost")
    assert (read.notify.slack, read.failpoint, read.git_environment) == (None, None, {})


@pytest.mark.parametrize(
    ("url", "resolved"),
    [
        ("fleet.git", "{folder}/fleet.git"),
        ("../fleet.git", "{parent}/fleet.git"),
        (".", "{folder}"),
        ("/srv/fleet.git", "/srv/fleet.git"),
        ("ssh://git@git.example/fleet.git", "ssh://git@git.example/fleet.git"),
        ("git@git.example:ops/fleet.git", "git@git.example:ops/fleet.git"),
    ],
)
def test_a_repository_is_a_url_or_a_path_from_the_files_own_folder(
    tmp_path: Path, url: str, resolved: str
) -> None:
    read = settings(tmp_path, f'repository: {{url: "{url}"}}\n')
    assert read.repository.url == resolved.format(folder=tmp_path, parent=tmp_path.parent)


def test_the_floor_is_read_class_by_class(tmp_path: Path) -> None:
    read = settings(tmp_path, f"{LEAST}floor: {{approvals: {{major: 2, patch: 1.0}}}}\n")
    assert str(read.floor_approvals) == "{'major': 2, 'patch': 1}"
    assert settings(tmp_path, f"{LEAST}floor: {{}}\n").floor_approvals == {}
    assert settings(tmp_path, LEAST).floor_approvals == {}


CHANNELS = """\
repository: {url: fleet.git}
notify:
  slack: {token: {env: TOKEN}, channel: "#deploys"}
  apprise: {ops-mail: {url: {file: mail-url}}}
  rules:
    - {to: [slack], except: {services: ["noisy-*"], severities: [info]}}
    - {to: [ops-mail, {slack: "#prod"}], environments: [production], severities: [warning, person], services: [api]}
"""


def test_channels_and_rules_are_read(tmp_path: Path) -> None:
    notify = settings(tmp_path, CHANNELS).notify
    assert notify.channels == ("slack", "slack:#prod", "ops-mail")
    assert notify.apprise["ops-mail"].path == tmp_path / "mail-url"
    assert notify.rules == (
        Rule(("slack",), Match(), Match((), ("info",), ("noisy-*",))),
        Rule(("ops-mail", "slack:#prod"), Match(("production",), ("warning", "person"), ("api",))),
    )


PEOPLE = """\
people:
        ada@example.org: {id: U0ADA, grants: [{role: approver, environments: [prod*]}, {role: viewer}]}
        Eve Ex: {id: U0EVE}
"""


def test_people_of_slack_and_what_they_may_do_are_read(tmp_path: Path) -> None:
    bot = "token: {env: T}\n      channel: d\n      app_token: {env: A}"
    text = f"{LEAST}notify:\n  slack:\n      {bot}\n      {PEOPLE}"
    slack = settings(tmp_path, text, {"A": "xapp-1"}).notify.slack
    assert slack is not None
    assert slack.pressable
    assert slack.app_token is not None
    assert slack.app_token.read() == "xapp-1"
    assert slack.people == {
        "ada@example.org": SlackPerson("U0ADA", (RoleGrant("approver", ("prod*",)), RoleGrant("viewer"))),
        "Eve Ex": SlackPerson("U0EVE"),
    }


@pytest.mark.parametrize(
    ("notify", "problem"),
    [
        ("rules: [{to: [slack]}]", "notify.rules[0].to[0]: there is no channel slack; name one of none yet"),
        (
            "{apprise: {mail: {url: {env: M}}}, rules: [{to: [mial]}]}",
            "notify.rules[0].to[0]: there is no channel mial; name one of mail",
        ),
        (
            '{slack: {webhook: {env: W}}, rules: [{to: [{slack: "#prod"}]}]}',
            "notify.rules[0].to[0]: only a bot can post to several channels; add notify.slack.token",
        ),
        (
            "{apprise: {note: {url: {env: M}}}}",
            "notify.apprise.note: the name note is taken; give this channel another one",
        ),
        (
            "{slack: {webhook: {env: W}}, rules: [{to: [slack], severities: [info]}]}",
            "notify.rules: no rule sends anywhere that a person is needed; let one rule",
        ),
        (
            "{slack: {webhook: {env: W}}, rules: [{to: [slack], severities: [loud]}]}",
            "notify.rules[0].severities[0]: this value is unknown; write info or warning or person",
        ),
        (
            "{slack: {webhook: {env: W}, app_token: {env: A}}}",
            "notify.slack: a webhook's messages have no buttons; use a bot",
        ),
        (
            "{slack: {token: {env: T}, channel: d, signing_secret: {env: S}}}",
            "notify.slack.signing_secret: nothing listens for Slack's requests; add `listen`",
        ),
        (
            "{slack: {token: {env: T}, channel: d, people: {ada: {id: U0AB}, eve: {id: U0AB}}}}",
            "notify.slack.people.eve.id: this is ada too; one person of Slack's is one person here",
        ),
        (
            '{slack: {token: {env: T}, channel: d, people: {ada: {id: "@ada"}}}}',
            "notify.slack.people.ada.id: this is not a member ID of Slack's; write for example",
        ),
        (
            '{slack: {webhook: {env: W}}, rules: [{to: [slack], services: ["A b"]}]}',
            "notify.rules[0].services[0]: this is not a name, in which * and ? may stand; write for example",
        ),
    ],
)
def test_rules_that_cannot_be_are_refused(tmp_path: Path, notify: str, problem: str) -> None:
    written = notify if notify.startswith("{") else f"{{{notify}}}"
    (found,) = problems(tmp_path, f"{LEAST}notify: {written}\n")
    assert found.partition(": ")[2].startswith(problem)


def test_a_webhook_does_without_token_and_channel(tmp_path: Path) -> None:
    slack = settings(
        tmp_path, f"{LEAST}notify: {{slack: {{webhook: {{env: HOOK}}}}}}\n", {"HOOK": "https://h"}
    ).notify.slack
    assert slack is not None
    assert slack.webhook is not None
    assert slack.webhook.read() == "https://h"
    assert (slack.token, slack.api) == (None, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("state: /x\n", "ugs.yaml:1:1: the key `repository` is missing"),
        (
            LEAST + "listen: '127.0.0.1:70000'\n",
            "ugs.yaml:2:9: listen: there is no port 70000; write for example 127.0.0.1:8475",
        ),
        (LEAST + "secret: {}\n", "ugs.yaml:2:1: secret: this key is unknown; did you mean `secrets`?"),
        (
            "repository: {url: x, poll: 0s}\n",
            "ugs.yaml:1:28: repository.poll: this must be longer than nothing",
        ),
        ("repository: {url: x, branch: -f}\n", "ugs.yaml:1:30: repository.branch: this is not a branch name"),
        ("repository: {url: 'https://[x/'}\n", "ugs.yaml:1:19: repository.url: Invalid IPv6 URL"),
        (
            LEAST + "artifacts: {allow: ['https://a.example']}\n",
            "ugs.yaml:2:21: artifacts.allow[0]: this prefix also",
        ),
        (
            LEAST + "artifacts: {allow: ['ftp://a/']}\n",
            "ugs.yaml:2:21: artifacts.allow[0]: this is not the beginning",
        ),
        (
            LEAST + "notify: {slack: {channel: x}}\n",
            "ugs.yaml:2:17: notify.slack: Slack needs either `token` and",
        ),
        (LEAST + "notify: {slack: {token: {env: A}}}\n", "ugs.yaml:2:17: notify.slack: Slack needs either"),
        (
            LEAST + "notify: {slack: {token: {env: A}, channel: x, webhook: {env: B}}}\n",
            "ugs.yaml:2:17: notify.slack: Slack needs either",
        ),
        (
            LEAST + "secrets: {a: {environments: [p], services: [s]}}\n",
            "ugs.yaml:2:14: secrets.a: a secret is exactly one of env, file and credential",
        ),
        (
            LEAST + "secrets: {a: {env: A, file: b, environments: [p], services: [s]}}\n",
            "ugs.yaml:2:14: secrets.a: a secret is exactly one of env, file and credential",
        ),
        (LEAST + "state: &a x\n", "ugs.yaml:2:8: anchors and aliases are not allowed"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    (said,) = problems(tmp_path, text)
    assert said.startswith(problem)


@pytest.mark.parametrize(
    ("approvals", "problem"),
    [
        ("{emergency: 1}", "ugs.yaml:2:21: floor.approvals.emergency: this key is unknown"),
        ("{major: -1}", "ugs.yaml:2:28: floor.approvals.major: this number is too small"),
        ("{major: 21}", "ugs.yaml:2:28: floor.approvals.major: this number is too large"),
        ("{major: two}", "ugs.yaml:2:28: floor.approvals.major: "),
    ],
)
def test_a_floor_that_cannot_be_is_refused(tmp_path: Path, approvals: str, problem: str) -> None:
    [told] = problems(tmp_path, f"{LEAST}floor: {{approvals: {approvals}}}\n")
    assert told.startswith(problem)


def test_a_password_in_the_url_is_refused_without_repeating_it(tmp_path: Path) -> None:
    (said,) = problems(tmp_path, "repository: {url: 'https://ugs:hunter2@git.example/f.git'}\n")
    assert said.startswith("ugs.yaml:1:19: repository.url: this URL holds a password; use `username` and")
    assert "hunter2" not in said


# Where the file is


def test_the_systems_file_comes_before_the_one_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = tmp_path / "etc"
    system.mkdir()
    monkeypatch.setattr(config, "SYSTEM_FILE", system / "ugs.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UgsError, match=r"there is neither .*/etc/ugs\.yaml nor \./ugs\.yaml; write one, or name"
    ):
        load(None, {})
    written(tmp_path, LEAST)
    assert load(None, {}).file == tmp_path / "ugs.yaml"
    written(system, LEAST)
    assert load(None, {}).file == system / "ugs.yaml"


def test_a_named_file_that_is_not_there_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UgsError, match=r"absent\.yaml is not there; write it, or name another with --config"):
        load(tmp_path / "absent.yaml", {})
    with pytest.raises(HostError, match="cannot be read: Is a directory; let the daemon's user read it"):
        load(tmp_path, {})


# The environment


def test_only_what_git_needs_of_the_environment_is_kept_and_never_shown(tmp_path: Path) -> None:
    environ = {
        "PATH": "/bin",
        "HOME": "/root",
        "https_proxy": "http://u:hunter2@p",
        "GIT_DIR": "/evil",
        "LD_PRELOAD": "x",
    }
    read = settings(tmp_path, LEAST, environ)
    assert read.git_environment == {"PATH": "/bin", "HOME": "/root", "https_proxy": "http://u:hunter2@p"}
    assert "hunter2" not in repr(read)


def test_a_crash_test_names_its_failpoint(tmp_path: Path) -> None:
    assert settings(tmp_path, LEAST, {"UGS_FAILPOINT": "push:begun"}).failpoint == "push:begun"
    assert settings(tmp_path, LEAST, {"UGS_FAILPOINT": ""}).failpoint is None


# Secrets


def test_a_secret_is_read_from_its_file_at_each_use_without_its_final_newline(tmp_path: Path) -> None:
    read = settings(tmp_path, WHOLE)
    assert read.repository.password is not None
    (tmp_path / "secrets").mkdir()
    for content, value in (("one\n", "one"), ("two\r\n", "two"), (" three\n\n", " three\n")):
        (tmp_path / "secrets/password").write_bytes(content.encode())
        assert read.repository.password.read() == value


def test_a_secret_is_read_from_the_environment_and_from_systemds_credentials(tmp_path: Path) -> None:
    text = f"{LEAST}notify: {{slack: {{webhook: {{credential: hook}}}}}}\n"
    (tmp_path / "hook").write_text("https://hook\n")
    slack = settings(tmp_path, text, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).notify.slack
    assert slack is not None
    assert slack.webhook is not None
    assert slack.webhook.read() == "https://hook"
    without = settings(tmp_path, text).notify.slack
    assert without is not None
    assert without.webhook is not None
    with pytest.raises(HostError, match="the systemd credential hook is empty or not there"):
        without.webhook.read()


def test_a_secret_that_cannot_be_had_says_which_and_never_what(tmp_path: Path) -> None:
    read = settings(tmp_path, WHOLE)
    assert read.notify.slack is not None
    assert read.notify.slack.token is not None
    with pytest.raises(HostError, match="the environment variable SLACK_TOKEN is empty or not there"):
        read.notify.slack.token.read()
    file = tmp_path / "secret"
    secret = Secret(f"the file {file}", path=file)
    with pytest.raises(
        HostError, match="secret cannot be read: No such file or directory; let the daemon's user"
    ):
        secret.read()
    for content, message in (
        (b"", "is empty or not there"),
        (b"\n", "is empty or not there"),
        (b"hunter2\xff", "is not UTF-8"),
        (b"hunter2" * 10_000, "is larger than 65536 bytes"),
    ):
        file.write_bytes(content)
        with pytest.raises(HostError, match=message) as caught:
            secret.read()
        chain = f"{caught.value!r} {caught.value.__cause__!r}"
        assert "hunter2" not in chain


def test_a_secret_is_given_only_where_it_is_granted(tmp_path: Path) -> None:
    read = settings(tmp_path, WHOLE)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/db").write_text("hunter2\n")
    assert read.secret("db-password", "production", "api") == "hunter2"
    for name, environment, service in (
        ("db-password", "staging", "api"),
        ("db-password", "production", "web"),
        ("other", "production", "api"),
    ):
        with pytest.raises(
            HostError, match=f"the secret {name} is not granted to {service} in {environment}"
        ):
            read.secret(name, environment, service)


def test_no_secret_shows_in_a_repr(tmp_path: Path) -> None:
    read = settings(tmp_path, WHOLE, {"SLACK_TOKEN": "xoxb-hunter2"})
    assert read.notify.slack is not None
    assert read.notify.slack.token is not None
    assert read.notify.slack.token.read() == "xoxb-hunter2"
    assert "hunter2" not in f"{read!r} {read}"
    assert "SLACK_TOKEN" in repr(read.notify.slack.token)


def test_nothing_but_the_given_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UGS_FAILPOINT", "from the process")
    assert settings(tmp_path, LEAST, {}).failpoint is None
    assert settings(tmp_path, LEAST, os.environ).failpoint == "from the process"


# Trust

TRUST = """\
identity: {signing_key: keys/ugs}
trust:
  signers: allowed_signers
  revoked: /etc/ugs/revoked
  since: 3f2b9c1d5e6f708192a3b4c5d6e7f8091a2b3c4d
  commits: all
  environments: {production: [ada@example.org, "*@ops.example.org"]}
  programs: {ssh: /opt/bin/ssh-keygen}
"""


def test_whose_commits_count_is_read_with_paths_from_the_files_own_folder(tmp_path: Path) -> None:
    read = settings(tmp_path, LEAST + TRUST)
    assert read.identity.signing_key == tmp_path / "keys/ugs"
    assert read.trust == Trust(
        signers=tmp_path / "allowed_signers",
        revoked=Path("/etc/ugs/revoked"),
        since="3f2b9c1d5e6f708192a3b4c5d6e7f8091a2b3c4d",
        commits="all",
        movers={"production": ("ada@example.org", "*@ops.example.org")},
        ssh_program=Path("/opt/bin/ssh-keygen"),
    )
    assert settings(tmp_path, LEAST).trust is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("trust: {}", "trust: the key `signers` is missing"),
        ("trust: {signers: a, since: 3f2b9c1}", "trust.since: this is not a full commit id"),
        (
            "trust: {signers: a, commits: tip}",
            "trust.commits: this value is unknown; write first-parent or all",
        ),
        ("trust: {signers: a}", "trust: the daemon's own reverts would not be trusted: nothing signs them"),
    ],
)
def test_trust_that_could_not_work_is_refused_at_once(tmp_path: Path, line: str, found: str) -> None:
    [problem] = problems(tmp_path, f"{LEAST}{line}\n")
    assert found in problem


def test_keys_of_artifacts_are_read_and_what_is_none_is_named_by_its_place(tmp_path: Path) -> None:
    key = "RWSA9C/23M2C2uHc9Zpv4kqwIo7j0yzllo3WblVV+oOJ/o3nx93PVs+z"
    [read] = settings(tmp_path, f"{LEAST}artifacts: {{keys: [{key}]}}\n").artifact_keys
    assert (read.kind, read.text) == ("minisign", key)
    [problem] = problems(tmp_path, f"{LEAST}artifacts: {{keys: [{key}, minisign.pub]}}\n")
    assert (
        "artifacts.keys[1]: this is neither minisign's public key nor a PEM; write the last line" in problem
    )


@pytest.mark.parametrize(("text", "lease_s"), [("", 90), ("lease: 2m\n", 120), ("lease: off\n", None)])
def test_a_lease_lasts_as_long_as_it_says_or_is_off(tmp_path: Path, text: str, lease_s: float | None) -> None:
    assert settings(tmp_path, LEAST + text).lease_s == lease_s


@pytest.mark.parametrize("text", ["500ms", "2h"])
def test_a_lease_that_could_not_be_kept_or_would_keep_others_waiting_is_refused(
    tmp_path: Path, text: str
) -> None:
    [told] = problems(tmp_path, f"{LEAST}lease: {text}\n")
    assert told == "ugs.yaml:2:8: lease: a lease lasts from 1s to 1h; write for example 90s, or off"


PROGRAMS = """\
drivers: [command]
engines:
  command:
    programs:
      nomad: {argv: [bin/ugs-nomad, --region], environment: {REGION: eu, TOKEN: {file: token}, OTHER: {env: OTHER}}}
      helm: {argv: [ugs-helm], environments: [staging], timeout: 1h}
"""


def test_programs_are_found_beside_the_file_and_their_secrets_stay_references(tmp_path: Path) -> None:
    read = settings(tmp_path, LEAST + PROGRAMS, {"OTHER": "0ther"})
    programs = read.engines["command"]["programs"]
    assert programs["nomad"]["argv"] == [str(tmp_path / "bin/ugs-nomad"), "--region"]
    assert programs["helm"]["argv"] == ["ugs-helm"]
    (tmp_path / "token").write_text("t0ken\n")
    environment = programs["nomad"]["environment"]
    assert (environment["REGION"], environment["TOKEN"](), environment["OTHER"]()) == ("eu", "t0ken", "0ther")
    assert "t0ken" not in repr(read)
    assert "0ther" not in repr(read)


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("{}", "ugs.yaml:4:31: engines.command.programs.nomad: the key `argv` is missing"),
        ("{argv: []}", "ugs.yaml:4:38: engines.command.programs.nomad.argv: this must not be empty"),
        (
            "{argv: [x], timeout: soon}",
            "ugs.yaml:4:52: engines.command.programs.nomad.timeout: this is not a duration",
        ),
        (
            "{argv: [x], shell: true}",
            "ugs.yaml:4:43: engines.command.programs.nomad.shell: this key is unknown",
        ),
    ],
)
def test_a_program_that_could_not_be_run_is_refused(tmp_path: Path, program: str, problem: str) -> None:
    text = f"{LEAST}drivers: [command]\nengines:\n  command: {{programs: {{nomad: {program}}}}}\n"
    assert any(said.startswith(problem) for said in problems(tmp_path, text)), problems(tmp_path, text)


# Webhooks, and who comes in


FACES = """\
repository: {url: fleet.git}
listen: "127.0.0.1:8475"
webhooks:
  github: {secret: [{file: new}, {env: OLD}]}
  gitea: {secret: {file: tea}}
oidc:
  issuer: "https://login.example/"
  client_id: ugs
  client_secret: {file: client}
  redirect_uri: "https://ugs.example/login/callback"
machines:
  - {issuer: "https://ci.example", audience: "https://ugs.example"}
people:
  - {group: sre, role: operator, environments: ["prod*"]}
  - {user: "Ada@Example.org", role: admin}
  - {user: "repo:Org/*", issuer: "https://ci.example", role: viewer}
"""


def test_who_comes_in_is_read(tmp_path: Path) -> None:
    read = settings(tmp_path, FACES, {"OLD": "as it was"})
    github, gitea = read.webhooks["github"], read.webhooks["gitea"]
    assert (len(github), github[1].read()) == (2, "as it was")
    assert [one.path for one in gitea] == [tmp_path / "tea"]
    assert read.oidc is not None
    assert read.oidc.client_secret is not None
    assert (read.oidc.at.audience, read.oidc.at.name_claim) == ("ugs", "email")
    assert read.oidc.at.scopes == ("openid", "email", "profile")
    [ci] = read.machines
    assert (ci.issuer, ci.audience, ci.name_claim, ci.redirect_uri) == (
        "https://ci.example",
        "https://ugs.example",
        "sub",
        None,
    )
    assert [(one.issuer, one.group, one.user, one.grant.role) for one in read.people] == [
        ("https://login.example/", "sre", None, "operator"),
        ("https://login.example/", None, "ada@example.org", "admin"),  # addresses have no case
        ("https://ci.example", None, "repo:Org/*", "viewer"),
    ]


def test_a_secret_of_theirs_that_others_may_read_is_refused(tmp_path: Path) -> None:
    for name in ("new", "tea", "client"):
        path = tmp_path / name
        path.write_text("x")
        path.chmod(0o644)
    with pytest.raises(HostError) as caught:
        refuse_exposed(settings(tmp_path, FACES))
    for key in ("webhooks.github.secret[0]", "webhooks.gitea.secret[0]", "oidc.client_secret"):
        assert key in caught.value.message


LISTEN = LEAST + "listen: '127.0.0.1:8475'\n"
OIDC = LISTEN + "oidc: {issuer: 'https://login.example', client_id: ugs%s}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LEAST + "webhooks: {github: {secret: {file: x}}}\n", "webhooks: nobody could deliver them"),
        (LISTEN + "webhooks: {gogs: {secret: {file: x}}}\n", "webhooks.gogs: "),
        (LISTEN + "webhooks: {github: {secret: []}}\n", "webhooks.github.secret: this must not be empty"),
        (OIDC.replace(LISTEN, LEAST) % "", "oidc: nobody could sign in"),
        (OIDC.replace("https:", "http:") % "", "oidc.issuer: this is reached by https alone"),
        (OIDC.replace("example'", "example?x'") % "", "oidc.issuer: this URL has a user, a query"),
        (
            OIDC % ", redirect_uri: 'https://ugs.example/'",
            "oidc.redirect_uri: people come back to /login/callback",
        ),
        (OIDC % ", redirect_uri: 'http://ugs.example/login/callback'", "oidc.redirect_uri: this is reached"),
        (OIDC % ", scopes: [email]", "oidc.scopes: the scope openid is missing"),
        (OIDC % "" + "people: [{role: viewer}]\n", "people[0]: a role is for a group or for a user"),
        (OIDC % "" + "people: [{role: viewer, user: a, group: b}]\n", "people[0]: a role is for a group"),
        (OIDC % "" + "people: [{role: root, user: a}]\n", "people[0].role: "),
        (LISTEN + "people: [{role: viewer, user: a}]\n", "people[0]: nobody vouches for these people"),
        (
            OIDC % "" + "people: [{role: viewer, user: a, issuer: 'https://x'}]\n",
            "people[0]: nobody vouches for these people",
        ),
        (
            OIDC % "" + "machines: [{issuer: 'https://login.example', audience: x}]\n",
            "machines[0].issuer: this issuer is named already",
        ),
        (
            LEAST + "machines: [{issuer: 'https://ci.example', audience: x}]\n",
            "machines: none of them could come in",
        ),
    ],
)
def test_what_would_let_in_nobody_or_anybody_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert any(problem in said for said in problems(tmp_path, text))


# The forge


def test_a_forge_is_named_by_what_the_repository_is_called(tmp_path: Path) -> None:
    for url, name in (
        ("https://git.example/ops/fleet.git", "ops/fleet"),
        ("ssh://git@git.example:22/ops/fleet", "ops/fleet"),
        ("git@git.example:ops/fleet.git", "ops/fleet"),
    ):
        text = f'repository: {{url: "{url}"}}\nforge: {{kind: github, token: {{env: FORGE}}}}\n'
        forge = settings(tmp_path, text, {"FORGE": "t"}).forge
        assert forge
        assert (forge.kind, forge.repository, forge.api) == ("github", name, None)
        assert forge.token
        assert forge.token.read() == "t"
    assert settings(tmp_path, LEAST).forge is None


def test_an_app_stands_in_for_a_token(tmp_path: Path) -> None:
    text = f"{LEAST}forge: {{kind: github, repository: ops/fleet, app: {{id: 7, key: {{file: key.pem}}}}}}\n"
    forge = settings(tmp_path, text).forge
    assert forge
    assert forge.app_key
    assert (forge.app, forge.app_key.path, forge.token) == (7, tmp_path / "key.pem", None)


def test_pull_requests_are_previewed_unless_that_is_switched_off(tmp_path: Path) -> None:
    for more, shown in (("", True), (", preview: true", True), (", preview: false", False)):
        text = f"{LEAST}forge: {{kind: github, repository: ops/fleet, token: {{env: T}}{more}}}\n"
        forge = settings(tmp_path, text, {"T": "t"}).forge
        assert forge
        assert forge.preview is shown


def test_accounts_on_the_forge_are_people_whom_ugs_knows(tmp_path: Path) -> None:
    people = "people: {Ada-L: ada@example.org}"
    text = f"{LEAST}forge: {{kind: github, repository: ops/fleet, token: {{env: T}}, {people}}}\n"
    forge = settings(tmp_path, text, {"T": "t"}).forge
    assert forge
    assert forge.people == {"Ada-L": "ada@example.org"}


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (
            "{kind: github, repository: a/b}",
            "forge: a forge needs either `token` or `app`; write one of the two",
        ),
        ("{kind: gitlab, repository: a/b, app: {id: 1, key: {env: K}}}", "forge.app: gitlab has no Apps"),
        (
            "{kind: gitea, repository: a/b, token: {env: T}}",
            "forge: nobody knows where this server is; add `api`",
        ),
        ("{kind: github, token: {env: T}}", "forge: repository.url does not say how the forge names it; add"),
        ("{kind: github, repository: a/b/c, token: {env: T}}", "forge: a/b/c is no repository there"),
        ("{kind: svn, repository: a/b, token: {env: T}}", "forge.kind: this value is unknown"),
        (
            '{kind: github, repository: a/b, token: {env: T}, api: "http://git.example/api"}',
            "forge.api: this is not the base URL of an API",
        ),
    ],
)
def test_a_forge_that_cannot_be_is_refused(tmp_path: Path, forge: str, problem: str) -> None:
    (found,) = problems(tmp_path, f"{LEAST}forge: {forge}\n")
    assert found.partition(": ")[2].startswith(problem)


def test_buttons_are_heard_in_one_way(tmp_path: Path) -> None:
    slack = "{token: {env: T}, channel: d, app_token: {env: A}, signing_secret: {env: S}}"
    (found,) = problems(tmp_path, f'{LEAST}listen: "127.0.0.1:8475"\nnotify: {{slack: {slack}}}\n')
    assert "notify.slack.signing_secret: buttons are heard in one way" in found


def test_a_digest_is_read(tmp_path: Path) -> None:
    hours = '[{cron: "0 22 * * *", duration: 9h}]'
    text = f"{LEAST}notify: {{digest: {{over: 20, every: 30m, hours: {hours}, timezone: Europe/Berlin}}}}\n"
    digest = settings(tmp_path, text).notify.digest
    assert digest == Digest(20, 600.0, 1800.0, (Window("0 22 * * *", 32400.0),), "Europe/Berlin")
    assert settings(tmp_path, LEAST).notify.digest is None


@pytest.mark.parametrize(
    ("digest", "problem"),
    [
        ("{every: 15m}", "notify.digest: nothing says when; add `over` or `hours`"),
        ("{over: 1, every: 0s}", "notify.digest.every: this must be longer than nothing"),
        ("{over: 1, timezone: Nowhere/At_all}", "notify.digest.timezone: "),
        ('{hours: [{cron: "99 * * * *", duration: 1h}]}', "notify.digest.hours[0]"),
        ('{hours: [{cron: "0 1 * * *", duration: 0s}]}', "notify.digest.hours[0].duration: this must be"),
    ],
)
def test_a_digest_that_cannot_be_is_refused(tmp_path: Path, digest: str, problem: str) -> None:
    (found,) = problems(tmp_path, f"{LEAST}notify: {{digest: {digest}}}\n")
    assert found.partition(": ")[2].startswith(problem)
