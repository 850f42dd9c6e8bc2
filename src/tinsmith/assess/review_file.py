"""Reviews that raters saved: their form, what is refused, and where they are kept in a run."""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tinsmith.assess.review_set import MAX_ITEMS, MIN_ITEMS, REVIEWED, Choice, ReviewSet, review_set
from tinsmith.core.disk_errors import reading_advice
from tinsmith.core.errors import ArtifactError, UserError, listing
from tinsmith.core.run_dir import entries, read_json, write_json
from tinsmith.model.grades import CRITERIA
from tinsmith.model.replies.asked import GROUPS

_Name = Annotated[str, Field(min_length=1, max_length=60)]
_Text = Annotated[str, Field(max_length=10_000)]
_Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]
_Verdict = Annotated[int, Field(ge=0, le=1)]
_Reviewed = Annotated[str, Field(pattern=f"^({'|'.join(REVIEWED)})$")]
_Group = Annotated[str, Field(pattern=f"^({'|'.join(GROUPS)})$")]
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Rater(_Part):
    """Who reviewed."""

    name: _Name
    is_author: bool
    """Whether they wrote the answers or made the model."""

    @property
    def key(self) -> str:
        """The same for two spellings of one name."""
        return " ".join(self.name.split()).casefold()


class ReviewedReply(_Part):
    """The grades of one reply; None for those that the rater has not given."""

    name: _Name
    """As `ReviewSet.reply_name` gives it."""
    accuracy: _Verdict | None
    factual: _Verdict | None
    quality: Annotated[int, Field(ge=1, le=5)] | None


class ReviewedFact(_Part):
    """What the rater says of a proposed fact of the reference."""

    text: _Text
    is_confirmed: bool | None
    """Whether a right answer has to state it; None if the rater has not decided."""
    forbidden: Annotated[list[_Text], Field(max_length=20)]
    """Values that contradict it."""


class ReviewedItem(_Part):
    """One item."""

    id: _Text
    replies: Annotated[list[ReviewedReply], Field(max_length=len(REVIEWED))]
    """In the order in which the page showed them."""
    facts: Annotated[list[ReviewedFact], Field(max_length=200)]

    @property
    def missing(self) -> list[str]:
        """What the rater has not decided."""
        grades = [
            f"{criterion} of reply {chr(ord('A') + number)}"
            for number, reply in enumerate(self.replies)
            for criterion in CRITERIA
            if getattr(reply, criterion) is None
        ]
        return grades + [f"the fact {fact.text!r}" for fact in self.facts if fact.is_confirmed is None]


class Review(_Part):
    """What a page saves."""

    run: _Text
    """The run's name; for people only."""
    set: _Sha256
    of: Annotated[list[_Reviewed], Field(min_length=1, max_length=len(REVIEWED))]
    groups: Annotated[list[_Group], Field(min_length=1, max_length=len(GROUPS))]
    count: Annotated[int, Field(ge=1, le=MAX_ITEMS)]
    rater: Rater
    started_at: _Time
    saved_at: _Time
    items: Annotated[list[ReviewedItem], Field(max_length=MAX_ITEMS)]
    """In the order in which the page showed them."""

    @classmethod
    def read(cls, value: Any) -> Self:
        """The review in a JSON value.

        Raises:
            UserError: the value is not a review.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            problem = error.errors()[0]
            path = ".".join(map(str, problem["loc"])) or "the whole file"
            raise UserError(f"not a review: {path}: {problem['msg']}", _SAVE_AGAIN) from error

    @property
    def choice(self) -> Choice:
        """What its page was asked to show."""
        return Choice(tuple(self.of), tuple(self.groups), self.count)


_SAVE_AGAIN = "Open the page in the browser where the review was written, which has kept it, and save the file again."


def signature_of(code: str, review: dict[str, Any]) -> str:
    """HMAC-SHA256 of a review's JSON without spaces, with the page's code as its key, in hexadecimal."""
    body = json.dumps(review, ensure_ascii=False, separators=(",", ":"))
    return hmac.new(bytes.fromhex(code), body.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


class ForeignReview(UserError):
    """A review of other items than this run's."""


def check_review(document: Any, evaluate_dir: Path, seed: int) -> tuple[Review, ReviewSet]:
    """The review in a file's JSON value, and the items that it is about.

    Args:
        document: What a page saved: a review with its `signature`.
        evaluate_dir: The run's answers.
        seed: The run's.

    Raises:
        ForeignReview: it is about other items than the run's.
        UserError: it is not a review, was changed after it was saved, or is not complete enough.
    """
    if not isinstance(document, dict) or not isinstance(document.get("signature"), str):
        raise UserError("not a review: no signature", "Name a file that a page of `tinsmith review` has saved.")
    body = {key: value for key, value in document.items() if key != "signature"}
    review = Review.read(body)
    try:
        items = review_set(evaluate_dir, review.choice, seed)
    except ArtifactError:
        raise
    except UserError as error:
        raise ForeignReview(f"of other items than this run's: {error.message}", _NEW_PAGE) from error
    if items.sha256 != review.set:
        raise ForeignReview(
            f"of other items than this run's (set {review.set[:12]} of run {review.run!r}; here it is "
            f"{items.sha256[:12]}): the page is of another run, or the answers changed after it was written",
            _NEW_PAGE,
        )
    if not hmac.compare_digest(signature_of(items.code, body).encode(), document["signature"].encode()):
        raise UserError("changed after the page saved it: its signature does not fit", _SAVE_AGAIN)
    _check_items(review, items)
    return review, items


_NEW_PAGE = "Write a page of this run's answers: tinsmith review RUN"


def _check_items(review: Review, items: ReviewSet) -> None:
    """Stop unless enough items are there, each once and complete, with the replies and facts of the set."""
    known = {item.id: item for item in items.items}
    problems = []
    for number, one in enumerate(review.items, start=1):
        item = known.pop(one.id, None)
        if item is None:
            raise UserError(f"not a review: item {number} ({one.id}) is not of the set or stands twice", _SAVE_AGAIN)
        names = {reply.name for reply in one.replies}
        if names != set(items.subjects_of(one.id)) or len(names) != len(one.replies):
            raise UserError(f"not a review: item {number} ({one.id}) has other replies than the set", _SAVE_AGAIN)
        if [fact.text for fact in one.facts] != [fact["text"] for fact in item.facts]:
            raise UserError(f"not a review: item {number} ({one.id}) has other facts than the set", _SAVE_AGAIN)
        if one.missing:
            problems.append(f"item {number} ({one.id}) lacks: {', '.join(one.missing)}")
    least = min(MIN_ITEMS, len(items.items))
    complete = len(review.items) - len(problems)
    if complete < least:
        problems.append(f"{least - complete} more items are needed")
    if problems:
        raise UserError(
            f"not complete: {complete} of {len(items.items)} items are, at least {least} have to be, and none may be "
            f"half done:\n{listing(problems)}",
            "Open the page in the same browser, which has kept the review, finish it, and save the file again.",
        )


@dataclass(frozen=True, slots=True)
class StoredReview:
    """A review that was imported into a run."""

    path: Path
    imported_at: str
    document: dict[str, Any]
    """What the page saved, with its signature."""

    @property
    def rater(self) -> Rater:
        return Rater.model_validate(self.document["rater"])


def stored_reviews(folder: Path) -> list[StoredReview]:
    """Every review in `folder`, oldest first.

    Raises:
        ArtifactError: a file is not a stored review.
    """
    reviews = []
    for path in entries(folder, "*.json"):
        envelope = read_json(path)
        try:
            review = StoredReview(path, envelope["imported_at"], envelope["review"])
            reviews.append(((review.imported_at, review.rater.key), review))
        except (KeyError, TypeError, ValidationError) as error:
            raise ArtifactError(
                f"{path}: not an imported review ({type(error).__name__})", "Delete the file."
            ) from error
    return [review for _, review in sorted(reviews, key=lambda pair: pair[0])]


def current_review(stored: StoredReview, evaluate_dir: Path, seed: int) -> tuple[Review, ReviewSet] | None:
    """A stored review and its items; None if it is of other answers than the run has now.

    Raises:
        ArtifactError: it is no longer what the rater saved.
    """
    try:
        return check_review(stored.document, evaluate_dir, seed)
    except ForeignReview:
        return None
    except ArtifactError:
        raise
    except UserError as error:
        hint = f"Import the rater's file again: tinsmith review RUN --remove {stored.rater.name!r}, then --import FILE"
        raise ArtifactError(f"{stored.path}: {error.message}", hint) from error


def store(folder: Path, review: Review, document: dict[str, Any]) -> Path:
    """Keep a checked review in `folder`, in the file of its rater, and return its path."""
    path = folder / f"{hashlib.sha256(review.rater.key.encode()).hexdigest()[:16]}.json"
    imported_at = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(path, {"imported_at": imported_at, "review": document})
    return path


def import_reviews(paths: Sequence[Path], evaluate_dir: Path, folder: Path, seed: int) -> list[Review]:
    """Check every file, then store all of them; if one is refused, none is stored.

    A rater's review of earlier answers is replaced.

    Raises:
        UserError: a file cannot be read or is refused (see `check_review`), or a rater has another review.
        ArtifactError: a stored review no longer is what its rater saved.
    """
    by_rater = {
        stored.rater.key: f"imported on {stored.imported_at[:10]}"
        for stored in stored_reviews(folder)
        if current_review(stored, evaluate_dir, seed)
    }
    accepted = []
    for path in paths:
        document = _read_document(path)
        try:
            review, _ = check_review(document, evaluate_dir, seed)
        except ArtifactError:
            raise
        except UserError as error:
            raise UserError(f"{path}: {error.message}; nothing was imported", error.hint) from error
        if earlier := by_rater.get(review.rater.key):
            raise UserError(
                f"{path}: there is a review by {review.rater.name!r} already ({earlier}); nothing was imported",
                f"To replace it: tinsmith review RUN --remove {review.rater.name!r}. Two raters need two names.",
            )
        by_rater[review.rater.key] = f"in {path}"
        accepted.append((review, document))
    for review, document in accepted:
        store(folder, review, document)
    return [review for review, _ in accepted]


def _read_document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        advice = reading_advice(error, "Correct the path.")
        raise UserError(f"{path}: cannot be read ({error.strerror})", advice) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a review: not JSON", _SAVE_AGAIN) from error


def remove_review(folder: Path, name: str) -> None:
    """Delete a rater's review.

    Raises:
        UserError: there is none.
    """
    reviews = stored_reviews(folder)
    key = Rater(name=name, is_author=False).key if name.strip() else ""
    for stored in reviews:
        if stored.rater.key == key:
            stored.path.unlink()
            return
    names = ", ".join(stored.rater.name for stored in reviews) or "nobody"
    raise UserError(f"there is no review by {name!r}; reviews are by: {names}", "Name one of these.")
