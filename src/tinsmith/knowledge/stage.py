"""Run the knowledge stage: the owner's answers and documents become passages that the page can look up."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from tinsmith.core.config import AnswersConfig, DataConfig
from tinsmith.core.run_dir import write_json
from tinsmith.core.stage_context import StageContext, Summary
from tinsmith.derive.files import Files
from tinsmith.derive.inventory import file_sizes, write_inventory
from tinsmith.derive.knowledge import RULES
from tinsmith.derive.rules import record
from tinsmith.knowledge.build import write_answers, write_ladder
from tinsmith.knowledge.calibrate import default_ladder, fitted
from tinsmith.knowledge.documents import passages_of_documents
from tinsmith.knowledge.encoders import encoders_for
from tinsmith.knowledge.fallback import fallback_of
from tinsmith.knowledge.left_out import MeasuringQuestion, near_by_leaving_out
from tinsmith.knowledge.passages import passages_of
from tinsmith.model.answers.answers import Answers
from tinsmith.model.answers.ladder import Ladder
from tinsmith.model.answers.questions import Question, check_questions, read_questions
from tinsmith.model.answers.rates import Outcome, Shown, is_right, judged
from tinsmith.model.answers.report import report_outcomes
from tinsmith.model.answers.wordings import counts_by_origin, read_wordings, with_wordings
from tinsmith.model.conversations import Conversation, read_jsonl
from tinsmith.model.passages import Passage, write_passages
from tinsmith.model.private.masks import Public
from tinsmith.model.private.protect import protect_passages, warnings
from tinsmith.model.private.record import PrivateRecord, read_masks
from tinsmith.model.writer.draft import draft_questions
from tinsmith.model.writer.writer import disclosure, open_writer

_SPLITS = ("train", "val", "test")
_DRAFTED_QUESTIONS = 150
MAX_CONVERSATIONS = 10_000
"""Conversations whose answers are looked up. A visitor downloads them all, and more were never timed in a browser."""


@dataclass(frozen=True, slots=True)
class _Questions:
    """Questions that set the ladder, and others that measure it."""

    fitting: list[Question]
    measuring: list[MeasuringQuestion]
    notes: list[str]
    """Lines for the owner."""
    record: dict[str, Any]
    """Counts of requested and dropped questions; empty if no model wrote any."""


def build_knowledge(
    config: AnswersConfig, data: DataConfig, base_dir: Path, data_dir: Path, out_dir: Path, context: StageContext
) -> Summary:
    """Write `passages.jsonl`, `answers/`, `answers_questions.jsonl` and `knowledge.json`.

    With `mode = "model"` only `knowledge.json` and `passages.jsonl` are written.

    Args:
        config: How answers are looked up and measured.
        data: Says where documents are, and the language.
        base_dir: Holds `model/`, which writes questions if the configuration says so.
        data_dir: Holds `train.jsonl`, `val.jsonl`, `test.jsonl`, and `hidden.json` with the key of the masks.
        out_dir: Existing and empty.
        context: Its seed divides the questions.

    Raises:
        DataError: a document, or the file of questions or wordings, cannot be used.
        EndpointError: the endpoint that writes questions failed.
        FetchError: an encoder cannot be downloaded.
        ArtifactError: `answers.encoder` is not an encoder that can be used.
    """
    conversations, notes = _conversations(data_dir)
    passages, description, summary = _passages(config, data, conversations, notes, data_dir, out_dir, context)
    write_passages(out_dir / "passages.jsonl", passages)
    if config.mode == "model" or not passages:
        reason = "answers.mode is model" if passages else "no answer stands alone, and there are no documents"
        write_json(out_dir / "knowledge.json", description | {"mode": "model", "reason": reason})
        record(context.recorder, RULES, Files.of_stage("knowledge", out_dir))
        return (*summary, f"the model answers alone: {reason}")
    owned = _owned_questions(config, passages)
    fallback = fallback_of(config.mode, conversations)
    ladder = default_ladder(config.max_wrong)
    answers_dir = out_dir / "answers"
    sources = encoders_for(config.encoder)
    answers_dir.mkdir()
    write_answers(answers_dir, passages, ladder, config.unknown, fallback.name, sources)
    answers = Answers(answers_dir)
    questions = owned or _drafted_questions(config, data, base_dir, passages, answers, context)
    answers.ladder = _fitted_ladder(answers, questions.fitting)
    write_ladder(answers_dir, answers.ladder)
    outcomes = _outcomes(answers, questions.measuring, context.seed)
    report = report_outcomes(outcomes, out_dir)
    write_inventory(answers_dir, out_dir)
    ladder_facts = {"mode": "ladder", "ladder": answers.ladder.as_json(), "max_wrong": config.max_wrong}
    description |= ladder_facts | fallback.as_json() | questions.record | report
    write_json(out_dir / "knowledge.json", description)
    files = Files.of_stage("knowledge", out_dir)
    record(context.recorder, RULES, files)
    size_bytes = sum(file_sizes(files, "knowledge").values())
    return (*summary, *questions.notes, _rates_line(outcomes, size_bytes))


def _conversations(data_dir: Path) -> tuple[list[Conversation], list[str]]:
    """The conversations whose answers become passages, and a note if those are not all.

    The data stage shuffles every split, so the first ones of each are a sample of all files and categories.
    """
    splits = [read_jsonl(data_dir / f"{split}.jsonl") for split in _SPLITS]
    total = sum(map(len, splits))
    if total <= MAX_CONVERSATIONS:
        return [conversation for split in splits for conversation in split], []
    note = (
        f"the answers of {total - MAX_CONVERSATIONS:,} conversations, because a page looks up those of at most "
        f"{MAX_CONVERSATIONS:,}; the {MAX_CONVERSATIONS:,} were drawn at random"
    )
    bounds = [MAX_CONVERSATIONS * end // total for end in accumulate(map(len, splits), initial=0)]
    sizes = [stop - start for start, stop in pairwise(bounds)]
    return [conversation for split, size in zip(splits, sizes, strict=True) for conversation in split[:size]], [note]


def _passages(
    config: AnswersConfig,
    data: DataConfig,
    conversations: Sequence[Conversation],
    notes: list[str],
    data_dir: Path,
    out_dir: Path,
    context: StageContext,
) -> tuple[list[Passage], dict[str, Any], list[str]]:
    """All passages, facts for the record, and summary lines, which end with what `notes` say is not used."""
    answers = passages_of(conversations)
    passages = list(answers.passages)
    counts = {
        "answers": answers.answers,
        "merged": answers.merged,
        "dependent": answers.dependent,
        "documents": 0,
    }
    summary = [f"{len(passages)} passages from {answers.answers} answers"]
    if data.documents:
        documents = passages_of_documents(Path(data.documents), context.say)
        of_documents, private = _protected(data, documents.passages, data_dir, out_dir)
        passages += of_documents
        counts["documents"], notes = len(documents.files), [*notes, *documents.notes]
        summary += [f"{len(of_documents)} passages from {len(documents.files)} documents", *private]
    summary += [f"warning: not used: {note}" for note in notes]
    wordings: list[Question] = []
    if config.wordings:
        path = Path(config.wordings)
        wordings = read_wordings(path, read_questions(Path(config.questions)) if config.questions else ())
        passages = with_wordings(passages, wordings, path)
        worded = sum(bool(passage.wordings) for passage in passages)
        counts["worded"] = worded
        summary.append(f"{len(wordings)} wordings for {worded} of the passages")
    facts = {"passages": len(passages), **counts, "wordings": counts_by_origin(wordings), "unused": notes}
    return passages, facts, summary


def _protected(
    data: DataConfig, passages: Sequence[Passage], data_dir: Path, out_dir: Path
) -> tuple[list[Passage], list[str]]:
    """Passages of documents as `data.privacy` says, and lines for the owner. Writes what must not be published."""
    masks = read_masks(data_dir, Public.of(data.privacy_allow, [data.system_prompt]))
    protected = protect_passages(passages, data.privacy, masks)
    record = PrivateRecord()
    record.add(finding for _, finding in protected.findings)
    record.write(out_dir, data.privacy, masks.key)
    lines = warnings(protected.findings, data.privacy)
    return protected.passages, [f"warning: documents hold {line}" for line in lines]


def _owned_questions(config: AnswersConfig, passages: Sequence[Passage]) -> _Questions | None:
    """The owner's questions, half of them to fit the ladder; None without a file. Known ones stand in for near ones."""
    if not config.questions:
        return None
    questions = read_questions(Path(config.questions))
    warnings = [f"warning: {problem}" for problem in check_questions(questions, passages)]
    fitting, measuring = questions[::2], questions[1::2]
    has_near = any(question.kind == "near" for question in measuring)
    near = [] if has_near else near_by_leaving_out(measuring, passages)
    return _Questions(fitting, [*map(MeasuringQuestion, measuring), *near], warnings, {})


def _drafted_questions(
    config: AnswersConfig,
    data: DataConfig,
    base_dir: Path,
    passages: Sequence[Passage],
    answers: Answers,
    context: StageContext,
) -> _Questions:
    """Questions made from the passages, none of which sets the ladder."""
    writer = open_writer(config, base_dir)
    if line := disclosure(writer, len(passages)):
        context.say(line)

    draft = draft_questions(passages, _DRAFTED_QUESTIONS, context.seed, data.language, writer, answers.closest)
    record = {"draft": {"written": draft.written, "dropped": dict(draft.dropped)}} if writer else {}
    return _Questions([], [*map(MeasuringQuestion, draft.questions)], draft.notes, record)


def _fitted_ladder(answers: Answers, questions: Sequence[Question]) -> Ladder:
    """The ladder, with its confidence fitted to questions that do not refer to an earlier one."""
    longest = max(len(passage.text) for passage in answers.passages)
    single = [question for question in questions if not question.previous]
    rankings = [answers.rank(question.question) for question in single]
    right = [
        bool(ranked) and is_right(question, answers.passages[ranked[0].passage], longest)
        for question, ranked in zip(single, rankings, strict=True)
    ]
    return fitted(answers.ladder, rankings, right)


def _outcomes(answers: Answers, measuring: Sequence[MeasuringQuestion], seed: int) -> list[Outcome]:
    questions = [one.question for one in measuring]
    shown = []
    for one in measuring:
        ranked = answers.look_up(one.question.question, one.question.previous, left_out=one.left_out)
        offered = () if ranked.is_far else tuple(passage for passage, _ in ranked.passages)
        confidence = 0.0 if ranked.is_far else ranked.confidence
        shown.append(Shown(ranked.rung, confidence, offered, answers.fallback == "model"))
    return judged(questions, shown, answers.passages, seed)


def _rates_line(outcomes: Sequence[Outcome], size_bytes: int) -> str:
    known = [outcome for outcome in outcomes if outcome.question.kind == "known"]
    size = f"{size_bytes / 1e6:.1f} MB more for visitors to download"
    if not known:
        return f"answers are not measured: there are no known questions; {size}"
    first = sum(outcome.is_first_right for outcome in known)
    three = sum(any(outcome.right) for outcome in known)
    wrong = sum(outcome.rung == "sure" and not outcome.is_first_right for outcome in known)
    return (
        f"of {len(known)} known questions, the right answer is first for {first / len(known):.0%}, among the first "
        f"three for {three / len(known):.0%}; {wrong / len(known):.0%} are given a wrong answer as sure; {size}"
    )
