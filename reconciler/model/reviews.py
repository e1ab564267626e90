"""A forge's approving reviews as approvals: which of them count for the commit by which a pull request was merged."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from msgspec import Struct

from reconciler.model.persons import person, same_person

Count = Literal["ignored", "count", "owners"]
"""Whether reviews are approvals: none, those of all who may write, or those of owners by CODEOWNERS alone."""


class Review(Struct, frozen=True):
    """The newest word of one person on a pull request. What was dismissed, and mere comments, are none."""

    person: str
    """The account's name there."""
    verdict: Literal["approved", "rejected"]
    commit: str
    """The head that was looked at; empty where the forge does not say."""
    may_write: bool
    """That account may write to the repository."""


class Given(Struct, frozen=True):
    """A review that is somebody's approval. `by`: as UGS knows that person, else the account."""

    by: str
    known: bool
    """ugs.yaml says who the account is."""
    owner: bool


class Tally(Struct, frozen=True):
    """What a pull request's reviews come to. `ignored`: who does not count, each with the reason."""

    given: tuple[Given, ...] = ()
    ignored: tuple[str, ...] = ()


def tally(
    reviews: Iterable[Review],
    *,
    head: str,
    author: str,
    names: Mapping[str, str],
    owners: Collection[str],
) -> Tally:
    """`head`: what was merged, `author`: the account that opened the pull request. `names`: by account, in whatever
    case, as UGS knows that person. `owners`: accounts, or addresses as UGS knows people.

    Whoever may write and asks for changes takes the others' reviews with him.
    """
    known = {person(account): name for account, name in names.items()}
    said = list(reviews)
    against = tuple(
        f"{one.person} asks for changes" for one in said if one.verdict == "rejected" and one.may_write
    )
    if against:
        return Tally(ignored=against)
    owned = {person(one) for one in owners}
    given, ignored = list[Given](), list[str]()
    for one in said:
        name = known.get(person(one.person), "")
        if one.verdict == "rejected":
            ignored.append(f"{one.person} asks for changes, and may not write")
        elif why := _uncounted(one, name, head, author, known.get(person(author), "")):
            ignored.append(f"{one.person} ({why})")
        else:
            owner = bool({person(one.person), person(name)} & owned)
            given.append(Given(name or one.person, known=bool(name), owner=owner))
    return Tally(tuple(given), tuple(ignored))


def _uncounted(review: Review, name: str, head: str, author: str, author_name: str) -> str:
    if not review.may_write:
        return "may not write to the repository"
    own = person(review.person) == person(author)
    if own or (name and author_name and same_person(name, author_name)):
        return "opened the pull request"
    if not review.commit:
        return "the forge does not say of which push"
    return "" if review.commit == head else "of an earlier push"


def told(tally: Tally, url: str) -> str:
    """In a sentence, beside the closed gate; empty where there is nothing to add."""
    if not tally.ignored:
        return "" if tally.given else f"nobody has reviewed {url}"
    return f"of the reviews of {url} do not count: {', '.join(tally.ignored)}"
