"""How each forge speaks of what the stand-in keeps."""

from __future__ import annotations

from tests.forge.dialects.base import Answer, Dialect
from tests.forge.dialects.bitbucket import BITBUCKET
from tests.forge.dialects.gitea import GITEA
from tests.forge.dialects.github import GITHUB
from tests.forge.dialects.gitlab import GITLAB

__all__ = ["DIALECTS", "Answer", "Dialect"]

DIALECTS = {"github": GITHUB, "gitea": GITEA, "gitlab": GITLAB, "bitbucket": BITBUCKET}
