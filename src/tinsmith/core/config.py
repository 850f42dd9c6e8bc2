"""The run's configuration: one TOML file, eight sections, unknown keys refused, every problem reported at once.

The docstring under a field is its documentation; `docs/config.md` is generated from this file.
Each stage receives only its own section.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tinsmith.core.errors import ConfigError, listing

MAX_EXAMPLES = 10
MAX_QUESTIONS = 8
MAX_QUESTION_CHARACTERS = 500


class Section(BaseModel):
    """A table of the configuration; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class BaseConfig(Section):
    """Which model to start from."""

    model: str = "smollm2-135m-instruct"
    """An alias (`smollm2-135m-instruct`, `gemma-3-270m`), `hf:org/name`, or a local folder or GGUF file."""
    revision: str = ""
    """Branch, tag or commit of an `hf:` model; resolved to a commit and recorded. Empty means the default branch."""
    license: str = ""
    """Licence of a local model whose files do not state one, as an SPDX id or Hub licence name."""
    tokenizer: str = ""
    """Folder with the tokenizer of a GGUF file whose own cannot be converted."""


class DataConfig(Section):
    """Which conversations to learn, and how to split them."""

    path: str = ""
    """A file or folder of JSON, JSONL, CSV or TSV conversations, relative to the configuration file."""
    system_prompt: str = ""
    """Added to conversations that have none. Empty adds nothing."""
    val_fraction: float = Field(0.1, gt=0, lt=0.5)
    """Share of conversations used to choose the best epoch and the INT4 recipe."""
    test_fraction: float = Field(0.1, gt=0, lt=0.5)
    """Share of conversations kept aside for the numbers on the card."""
    max_tokens: int = Field(1024, ge=16)
    """Longer conversations are cut after the last whole turn that fits, and listed."""
    drop_invalid: bool = True
    """Whether records that cannot be used are left out and listed; `false` stops the run with their list."""
    language: str = ""
    """Language of the conversations as an ISO 639-1 code, printed on the card."""
    license: str = ""
    """Licence of the data, printed on the card."""
    source: str = ""
    """Where the data comes from, printed on the card as the author's words."""


class TrainConfig(Section):
    """QLoRA fine-tuning."""

    backend: Literal["auto", "peft", "unsloth"] = "auto"
    """Training engine. `auto` uses Unsloth on CUDA if it can be imported, else Transformers + PEFT."""
    quantization: Literal["nf4", "none"] = "nf4"
    """How the frozen base is stored while training: `nf4` with double quantization is QLoRA, `none` is plain LoRA."""
    nf4_storage: Literal["auto", "packed", "unpacked"] = "auto"
    """Whether NF4 weights stay packed in memory. Results are the same; `auto` packs them where unpacking costs
    little."""
    gradient_checkpointing: Literal["auto", "always", "never"] = "auto"
    """Whether layers are computed again in the backward pass instead of being kept: less memory, about a quarter
    slower, same result. `auto` does it in as many layers as free memory makes necessary."""
    epochs: int = Field(3, ge=1)
    """Passes over the training conversations. The adapter of the epoch with the lowest validation loss is kept."""
    steps: int = Field(0, ge=0)
    """Optimizer steps, instead of `epochs`. 0 means as many as the epochs have."""
    patience: int = Field(0, ge=0)
    """Stop after this many epochs without a lower validation loss. 0 never stops early."""
    learning_rate: float = Field(5e-4, gt=0)
    """Peak learning rate, reached after the warm-up."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_fraction: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises to its peak."""
    lora_rank: int = Field(16, ge=1)
    """Rank of the LoRA adapters (r)."""
    lora_alpha: int = Field(16, ge=1)
    """LoRA scaling: adapters are multiplied by `lora_alpha / lora_rank`."""
    batch_size: int = Field(4, ge=1)
    """Conversations in one forward pass, fewer where memory is short. Openings they share are computed once."""
    grad_accum_steps: int = Field(4, ge=1)
    """Forward passes per optimizer step. The effective batch is `batch_size x grad_accum_steps`, over all processes."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's weight decay of the adapters."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients with a larger norm are scaled down to it."""


class ExportConfig(Section):
    """INT4 ONNX package."""

    recipe: Literal["auto", "rtn", "gptq", "mixed"] = "auto"
    """How weights become INT4. `rtn` rounds to nearest in seconds; `gptq` calibrates on training conversations; `mixed`
    is `gptq` with INT8 for the most sensitive matrices. `auto` tries `rtn`, then `mixed`, takes the first within
    `max_perplexity_ratio`, and stops the run if neither is."""
    max_perplexity_ratio: float = Field(1.03, gt=1)
    """Highest perplexity of INT4 over the tuned model on the validation split that `auto` accepts."""
    max_bits_per_parameter: float = Field(5.0, ge=4.7, le=8.5)
    """Size limit over all matrices, which `mixed` uses up. All in INT4 take 4.66 in SmolLM2-135M. The run stops if the
    weights are more than 50 kB a layer larger."""
    calibration_tokens: int = Field(0, ge=0)
    """Training tokens that calibration reads, in whole conversations; a shared opening counts once. 0 means 16,384. To
    save time and memory, a processor then reads half as many above 275 million parameters and halves again at every
    doubling: 4,096 for Gemma 3 1B."""
    float16: bool = True
    """Add a graph over the same weights (about 0.2 MB) that computes in float16, for GPUs that can. It is left out
    where values come near the end of float16's range."""
    int8: bool = True
    """Add graphs over the same weights (about 1.4 MB) that multiply in INT8, because WASM has no fast 4-bit product.
    Made up to 1.3 billion parameters for the chat page, up to 400 million for plain Transformers.js."""
    gguf: Literal["", "f16", "q8_0", "q4_0"] = ""
    """Also write the tuned model as one GGUF file in this format, for llama.cpp, Ollama and wllama. Empty writes
    none."""
    max_chunk_mb: int = Field(95, ge=1, le=2000)
    """Largest file of weights, in MB of 10^6 bytes. A larger matrix gets a file of its own, with its scales and zero
    points. GitHub takes no file over 100 MiB."""


class EvaluateConfig(Section):
    """Evaluation of base, tuned and int4 on identical token ids."""

    train_sample: int = Field(64, ge=1)
    """Training conversations to score, beside the whole validation and test splits."""
    questions: int = Field(24, ge=0)
    """Test questions that base, tuned and int4 answer with greedy decoding."""
    max_new_tokens: int = Field(128, ge=1)
    """Longest answer in tokens. An answer that reaches it counts as not stopped."""


class BenchConfig(Section):
    """Benchmark in a real browser."""

    devices: tuple[Literal["wasm", "webgpu"], ...] = ("wasm", "webgpu")
    """Backends to measure."""
    new_tokens: int = Field(64, ge=2)
    """Tokens decoded in one timed run."""
    software_new_tokens: int = Field(2, ge=2)
    """The same on a software WebGPU adapter, in one run: its speed says nothing about a GPU."""
    warmup_runs: int = Field(1, ge=1)
    """Untimed answers before the timed ones."""
    runs: int = Field(5, ge=5)
    """Timed answers to a prompt of fixed words, as long as the first test question's."""
    prompt_tokens: tuple[int, ...] = (32, 256, 1024)
    """Lengths of further prompts to time. Those that do not fit the model are left out."""
    prompt_new_tokens: int = Field(32, ge=2)
    """Tokens decoded after each of these prompts."""
    prompt_runs: int = Field(3, ge=1)
    """Timed runs of each of these prompts."""
    prompt_seconds: int = Field(120, ge=1)
    """Time limit for the runs of one prompt; a prompt whose first run would take longer is skipped."""
    timeout_seconds: int = Field(900, ge=10)
    """Time limit for each device. A browser that takes longer is stopped with an error."""


class CardExample(Section):
    """A test question and its reference answer, both exactly as in the data."""

    model_config = ConfigDict(str_strip_whitespace=True)

    question: str = Field(min_length=1)
    """First message of the user."""
    reference: str = Field(min_length=1)
    """The assistant's answer to it in the data."""


class CardConfig(Section):
    """What only the author can say. Everything left empty is marked as not stated."""

    title: str = ""
    """Model name on the card. Empty uses the run's name."""
    version: str = "1.0.0"
    """Version of the model, printed on the card and in the citation."""
    author: str = ""
    """Name for the contact section and the citation."""
    email: str = ""
    """E-mail address for questions about the model."""
    github: str = ""
    """GitHub account or page of the author."""
    url: str = ""
    """Where the model will live, for the citation."""
    hub_id: str = ""
    """Hub repository as `org/name`, for the How-to-Use snippet."""
    domain: str = ""
    """What the model knows about, in a few words."""
    intended_uses: tuple[str, ...] = ()
    """What the model is meant for, one text for each use."""
    out_of_scope_uses: tuple[str, ...] = ()
    """What it must not be used for, one text for each use."""
    benefits: tuple[str, ...] = ()
    """Benefits to name under ethical considerations."""
    risks: tuple[str, ...] = ()
    """Risks to name there."""
    mitigations: tuple[str, ...] = ()
    """What was done about these risks."""
    knowledge_cutoff: str = ""
    """Knowledge cutoff of base model and data, as far as the author knows it."""
    examples: tuple[CardExample, ...] = Field((), max_length=MAX_EXAMPLES)
    """Test questions that the card may show with their reference and each model's answer, as
    `{ question = "...", reference = "..." }`. Conversations appear on the card only if they stand here word for word;
    `tinsmith approve` lists candidates, asks, and writes this key."""


_Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION_CHARACTERS)]


class AppConfig(Section):
    """The chat page."""

    questions: tuple[_Question, ...] = Field((), max_length=MAX_QUESTIONS)
    """Suggested questions on the page, exactly as written here; empty shows none. `tinsmith approve` lists candidates
    from the test split, asks, and writes this key."""
    system_prompt: str = ""
    """System prompt of the page and of the card's code. Empty uses `data.system_prompt`. A prompt that stands only in
    the conversations is published only if it is repeated here; `tinsmith approve` asks and writes this key."""


class RunConfig(Section):
    """The whole of a `tinsmith.toml`."""

    name: str = Field("my-model", pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)
    """Name of the run and its folder `runs/<name>`."""
    seed: int = 17
    """Seed of the split, the order of training and all sampling."""
    base: BaseConfig = BaseConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    export: ExportConfig = ExportConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    bench: BenchConfig = BenchConfig()
    card: CardConfig = CardConfig()
    app: AppConfig = AppConfig()

    @property
    def public_system_prompt(self) -> str:
        """The system prompt that page and card may show, in the owner's own words; empty if they wrote none."""
        return (self.app.system_prompt or self.data.system_prompt).strip()


def load_config(path: Path, settings: tuple[str, ...] = ()) -> RunConfig:
    """The configuration in `path` with `key=value` settings applied on top.

    Args:
        path: A TOML file. `data.path` and a local `base.model` are relative to its folder.
        settings: Such as `train.epochs=1`; values are read as TOML, else as text.

    Raises:
        ConfigError: no such file, not TOML, or keys or values that do not fit; all of them at once.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file", "Make one with: tinsmith init DIR")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})", "Save the file as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path}: not TOML: {error}", 'Texts need quotes, name = "my-model", and a key may stand once in its table'
        ) from error
    for setting in settings:
        _apply_setting(tree, setting)
    config = _validated(tree, str(path))
    return _with_absolute_paths(config, path.resolve().parent)


def _apply_setting(tree: dict[str, Any], setting: str) -> None:
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {setting}: expected key=value", "Such as --set train.epochs=1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *sections, name = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {setting}: {section!r} is not a section", "Keys look like train.epochs")
    tree[name] = value


def _validated(tree: dict[str, Any], where: str) -> RunConfig:
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                problems.append(f"{key}: unknown key{_nearest(item['loc'])}")
            else:
                problems.append(f"{key}: {item['msg']} (found {item['input']!r})")
        raise ConfigError(
            f"{where}: {len(problems)} problem(s)\n{listing(problems)}", "All keys: docs/config.md"
        ) from error


def _nearest(location: tuple) -> str:
    """`, did you mean ...` for the known key closest to an unknown one, else nothing."""
    import difflib

    if len(location) > 2:
        return ""  # inside an item of a list, whose keys are few
    section = RunConfig.model_fields[location[0]].annotation if len(location) > 1 else RunConfig
    names = list(getattr(section, "model_fields", {}))
    close = difflib.get_close_matches(str(location[-1]), names, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; known here: {', '.join(names)}"


def _with_absolute_paths(config: RunConfig, folder: Path) -> RunConfig:
    updates: dict[str, Any] = {}
    if config.data.path:
        updates["data"] = config.data.model_copy(update={"path": str(folder / config.data.path)})
    base: dict[str, str] = {}
    if config.base.tokenizer:
        base["tokenizer"] = str(folder / config.base.tokenizer)
    local = folder / config.base.model
    if not config.base.model.startswith("hf:") and local.exists():
        base["model"] = str(local)
    if base:
        updates["base"] = config.base.model_copy(update=base)
    return config.model_copy(update=updates)


def commented_toml() -> str:
    """A `tinsmith.toml` with every key at its default and what it means above it, ready to edit."""
    lines = ["# tinsmith configuration. Every key is optional except data.path; the values below are the defaults.", ""]
    sections = []
    for name, field in RunConfig.model_fields.items():
        if isinstance(field.default, Section):
            sections.append((name, field.default))
        else:
            lines += _commented_key(name, field.description, field.default)
    for name, section in sections:
        lines += ["", f"[{name}]", f"# {type(section).__doc__}"]
        for key, field in type(section).model_fields.items():
            lines += _commented_key(key, field.description, field.default)
    return "\n".join(lines) + "\n"


def _commented_key(key: str, description: str | None, default: Any) -> list[str]:
    comment = [f"# {' '.join(description.split())}"] if description else []
    return [*comment, f"{key} = {toml_value(default)}"]


def toml_value(value: Any) -> str:
    """`value` as TOML text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False)
    return str(value)
