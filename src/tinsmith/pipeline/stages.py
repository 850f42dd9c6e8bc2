"""The stages in order: what each reads, what it runs, and what its result depends on."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinsmith.card.evidence import STAGES as CARD_READS
from tinsmith.core.config import RunConfig
from tinsmith.core.errors import ConfigError, DataError
from tinsmith.core.measure import current_measurements
from tinsmith.core.run_dir import RunDir, file_sha256, files_below, read_stamp
from tinsmith.core.stage_context import StageContext, Summary

_REPLIES = ("unknown", "hello", "thanks", "goodbye", "about")
"""Keys of `[answers]` that only the site shows."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the pipeline."""

    name: str
    """Also the name of its folder in the run and of its section in the configuration, if it has one."""
    title: str
    module: str
    """Module with the stage's function; its imports are part of the fingerprint."""
    reads: tuple[str, ...]
    """Earlier stages whose output it reads."""
    run: Callable[[RunConfig, RunDir, Path, StageContext], Summary]
    """Calls the stage's function with its own section and explicit paths; the `Path` is the folder it writes to."""
    settings: Callable[[RunConfig], Any]
    """The part of the configuration that the result depends on, as JSON-able values."""
    outside: Callable[[RunConfig, RunDir], Any] = lambda config, run: None
    """What else the result depends on, such as hashes of the files it reads outside the run, as JSON-able values."""
    resumes: bool = False
    """Whether an interrupted stage continues from its unfinished output."""


def _base(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.base.stage import resolve_base

    return resolve_base(config.base, out_dir, context)


def _data(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.data.stage import prepare_data

    return prepare_data(config.data, run.stage("base"), out_dir, context)


def _knowledge(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.knowledge.stage import build_knowledge

    return build_knowledge(config.answers, config.data, run.stage("base"), run.stage("data"), out_dir, context)


def _train(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.train.stage import train_adapter

    return train_adapter(config.train, run.stage("base"), run.stage("data"), out_dir, context)


def _merge(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.merge import merge_adapter

    return merge_adapter(run.stage("base"), run.stage("data"), run.stage("train"), out_dir, context)


def _export(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.export.stage import export_int4

    return export_int4(config.export, run.stage("data"), run.stage("merge"), out_dir, context)


def _evaluate(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.evaluate.stage import evaluate_models

    base, data, knowledge, merge, export = map(run.stage, ("base", "data", "knowledge", "merge", "export"))
    return evaluate_models(config.evaluate, base, data, knowledge, merge, export, out_dir, context)


def _bench(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.bench.stage import bench_browser

    return bench_browser(config.bench, run.stage("data"), run.stage("export"), out_dir, context)


def _remote(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.bench.remote_stage import record_results

    return record_results(run.stage("export"), run.received, out_dir, context)


def _review(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.assess.review_stage import record_reviews

    return record_reviews(run.stage("evaluate"), run.reviews, out_dir, context)


def _judge(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.assess.judge_stage import record_judgements

    return record_judgements(run.stage("evaluate"), run.stage("review"), run.judgements, out_dir, context)


def _card(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.card.stage import render_card

    return render_card(config.card, run, config.name, out_dir, context)


def _app(config: RunConfig, run: RunDir, out_dir: Path, context: StageContext) -> Summary:
    from tinsmith.app import Names, build_app

    folders = map(run.stage, ("data", "knowledge", "export", "card"))
    prompt = config.public_system_prompt
    names = Names(config.title, config.owner)
    return build_app(config.app, config.answers, prompt, *folders, out_dir, names, context)


def _section(name: str) -> Callable[[RunConfig], Any]:
    return lambda config: getattr(config, name).model_dump(mode="json")


def _seed(config: RunConfig) -> Any:
    return {"seed": config.seed}


def _with_seed(name: str) -> Callable[[RunConfig], Any]:
    return lambda config: {"seed": config.seed, **getattr(config, name).model_dump(mode="json")}


def _base_settings(config: RunConfig) -> Any:
    """The section, with local paths shortened to their names. `_base_files` covers content, so files may move."""
    settings = config.base.model_dump(mode="json")
    return settings | {key: Path(settings[key]).name for key in ("model", "tokenizer") if _is_local(settings[key])}


def _is_local(name: str) -> bool:
    """Whether `name` is a local path; `load_config` makes those absolute."""
    return Path(name).is_absolute()


def _data_settings(config: RunConfig) -> Any:
    """The section, with the path only of a data set of the Hub; `_conversations` covers the content of files."""
    outside = {"documents"} if config.data.path.startswith("hf:") else {"path", "documents"}
    return {"seed": config.seed, **config.data.model_dump(mode="json", exclude=outside)}


def answers_settings(config: RunConfig) -> dict[str, Any]:
    """Settings that decide how answers are ranked and measured. `_knowledge_files` covers files and the writer.

    Settings that only change the site are left out: the owner's replies, name and consent.
    """
    shown = {*_REPLIES, "owner", "publish", "publish_questions"}
    outside = {"questions", "wordings", "encoder", "writer", "writer_model"}
    answers = config.answers.model_dump(mode="json", exclude=shown | outside)
    privacy = config.data.model_dump(mode="json", include={"language", "privacy", "privacy_allow", "system_prompt"})
    return {"seed": config.seed, **privacy, **answers}


def _knowledge_files(config: RunConfig, run: RunDir) -> Any:
    """Hashes of documents, questions, wordings and the encoder's folder; and who writes questions."""
    folders = [path for path in (config.data.documents, config.answers.encoder) if path]
    files = [*(_file_sha256s(Path(path)) for path in folders), question_files(config), wording_files(config)]
    return [*files, _writer(config, run)]


def _writer(config: RunConfig, run: RunDir) -> dict[str, Any]:
    """The writer of questions, with the base's hashes if that is the base; empty if the owner has questions."""
    if config.answers.questions:
        return {}
    base = read_stamp(run.stamp("base"))["outputs"] if config.answers.writer == "base" else {}
    return {"writer": config.answers.writer, "model": config.answers.writer_model, "base": base}


def question_files(config: RunConfig) -> dict[str, str]:
    """File name -> sha256 of the owner's questions; empty if there are none.

    Raises:
        ConfigError: the file does not exist.
    """
    return _owned_file("questions", config.answers.questions)


def wording_files(config: RunConfig) -> dict[str, str]:
    """File name -> sha256 of the owner's wordings; empty if there are none.

    Raises:
        ConfigError: the file does not exist.
    """
    return _owned_file("wordings", config.answers.wordings)


def _owned_file(key: str, name: str) -> dict[str, str]:
    path = Path(name)
    if not name:
        return {}
    if not path.is_file():
        hint = f"Correct the path, or write a file to start from: tinsmith {key} RUN"
        raise ConfigError(f"answers.{key}: no such file: {path}", hint)
    return {path.name: file_sha256(path)}


def _card_settings(config: RunConfig) -> Any:
    system_prompt = config.public_system_prompt
    answers = config.answers.model_dump(mode="json", include={"mode", "max_wrong", "unknown", "publish"})
    return {
        "name": config.name,
        "system_prompt": system_prompt,
        "answers": answers,
        **config.card.model_dump(mode="json"),
    }


def _app_settings(config: RunConfig) -> Any:
    section = config.app.model_dump(mode="json")
    answers = config.answers.model_dump(mode="json", include={"mode", *_REPLIES, "publish", "publish_questions"})
    names = {"title": config.title, "owner": config.owner}
    return section | {"answers": answers, **names, "system_prompt": config.public_system_prompt}


def _file_sha256s(path: Path) -> dict[str, str]:
    """Relative path -> sha256 of the file at `path`, or of every file below it."""
    if path.is_file():
        return {path.name: file_sha256(path)}
    return {p.relative_to(path).as_posix(): file_sha256(p) for p in files_below(path)}


def _base_files(config: RunConfig, run: RunDir) -> Any:
    """Hashes of a local base model's and tokenizer's files, and of the licence files beside a GGUF file."""
    from tinsmith.base.license_files import gguf_license_inputs

    hashes = [_file_sha256s(Path(name)) for name in (config.base.model, config.base.tokenizer) if _is_local(name)]
    model = Path(config.base.model)
    return [*hashes, gguf_license_inputs(model)] if _is_local(config.base.model) and model.is_file() else hashes


def _conversations(config: RunConfig, run: RunDir) -> Any:
    """Hashes of the files that are read, and names of the others, which the report has; nothing for the Hub's."""
    from tinsmith.data.read.find import find_pieces

    if config.data.path.startswith("hf:"):
        return {}
    try:
        found = find_pieces(config.data.path, config.data.fields)
    except DataError:
        return {}  # The stage will say it.
    return found.files, [(item.name, item.reason) for item in found.unused], [item.file for item in found.problems]


def _received(config: RunConfig, run: RunDir) -> Any:
    return _file_sha256s(run.received)


def _reviews(config: RunConfig, run: RunDir) -> Any:
    return _file_sha256s(run.reviews)


def _judgements(config: RunConfig, run: RunDir) -> Any:
    return _file_sha256s(run.judgements)


def _evidence(config: RunConfig, run: RunDir) -> Any:
    """What a card shows besides the stages' files: hashes of their stamps, and their measurements."""
    stamps = {name: file_sha256(run.stamp(name)) for name in CARD_READS if run.stamp(name).exists()}
    return stamps, [asdict(m) for m in current_measurements(run) if m.stage in CARD_READS]


STAGES = (
    Stage("base", "Base model", "tinsmith.base.stage", (), _base, _base_settings, _base_files),
    Stage("data", "Conversations", "tinsmith.data.stage", ("base",), _data, _data_settings, _conversations),
    Stage(
        "knowledge",
        "Answers to look up",
        "tinsmith.knowledge.stage",
        ("data",),
        _knowledge,
        answers_settings,
        _knowledge_files,
    ),
    Stage(
        "train",
        "QLoRA fine-tuning",
        "tinsmith.train.stage",
        ("base", "data"),
        _train,
        _with_seed("train"),
        resumes=True,
    ),
    Stage("merge", "Merge", "tinsmith.merge", ("base", "data", "train"), _merge, lambda config: {}),
    Stage("export", "INT4 package", "tinsmith.export.stage", ("data", "merge"), _export, _with_seed("export")),
    Stage(
        "evaluate",
        "Evaluation",
        "tinsmith.evaluate.stage",
        ("base", "data", "knowledge", "merge", "export"),
        _evaluate,
        _with_seed("evaluate"),
    ),
    Stage("bench", "Browser benchmark", "tinsmith.bench.stage", ("data", "export"), _bench, _section("bench")),
    Stage("remote", "Other devices", "tinsmith.bench.remote_stage", ("export",), _remote, lambda config: {}, _received),
    Stage(
        "review",
        "Review by people",
        "tinsmith.assess.review_stage",
        ("evaluate",),
        _review,
        _seed,
        _reviews,
    ),
    Stage(
        "judge",
        "Review by a language model",
        "tinsmith.assess.judge_stage",
        ("evaluate", "review"),
        _judge,
        _seed,
        _judgements,
    ),
    Stage("card", "Model card", "tinsmith.card.stage", CARD_READS, _card, _card_settings, _evidence),
    Stage("app", "Chat page", "tinsmith.app", ("data", "knowledge", "export", "card"), _app, _app_settings),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)
