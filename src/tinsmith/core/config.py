"""The run's configuration: nine sections of one TOML file, with strict types and sane bounds for every key.

The docstring under a field is its documentation; `docs/config.md` is generated from this file. Each stage receives only
its own section. `config_file.py` reads and writes the file.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from tinsmith.core.field_map import FieldMap
from tinsmith.core.section import LIST, Section, Text, Texts
from tinsmith.core.writers import WriterModel, WriterName

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
MAX_NAME_LENGTH = 64
MAX_EXAMPLES = 10
MAX_QUESTIONS = 8
MAX_EXAMPLE_CHARACTERS = 100_000
MAX_QUESTION_CHARACTERS = 500
MAX_OWNER_CHARACTERS = 80
_MAX_SEED = 2**32 - 1
"""The largest seed that Python, numpy and PyTorch all accept."""
_CITATION_KEY = r"^([A-Za-z0-9][A-Za-z0-9_.:/+-]*)?$"
_Reply = Annotated[Text, Field(min_length=1, max_length=500)]


class BaseConfig(Section):
    """Which model to start from."""

    model: Annotated[Text, Field(min_length=1)] = "smollm2-135m-instruct"
    """An alias (`smollm2-135m-instruct`, `gemma-3-270m`), `hf:org/name`, or a local folder or GGUF file."""
    revision: Text = ""
    """Branch, tag or commit of an `hf:` model; resolved to a commit and recorded. Empty means the default branch."""
    license: Text = ""
    """Licence of a local model whose files do not state one, as an SPDX id or Hub licence name."""
    tokenizer: Text = ""
    """Folder with a tokenizer, for a GGUF file whose own tokenizer cannot be converted."""


class DataConfig(Section):
    """Which conversations to learn from, and how to split them."""

    path: Text = ""
    """A file or folder of conversations, relative to the configuration file, or `hf:org/name`; see `docs/data.md`."""
    fields: FieldMap = FieldMap()
    """Names of the fields of your records, for shapes that are not known: `question`, `answer`, `context`, `system`,
    `category`, `id`, `messages`, `role`, `content`, `assistant`; see `docs/data.md`."""
    documents: Text = ""
    """A file or folder of Markdown, text, HTML, PDF or DOCX documents that also answer questions; not trained on."""
    system_prompt: Text = ""
    """Added to conversations that have none. Empty adds nothing."""
    val_fraction: float = Field(0.1, gt=0, lt=0.5)
    """Share of conversations used to choose the best epoch and the INT4 recipe."""
    test_fraction: float = Field(0.1, gt=0, lt=0.5)
    """Share of conversations held out for the numbers on the card."""
    max_tokens: int = Field(1024, ge=16, le=131_072)
    """Longer conversations are cut after the last whole turn that fits, and listed."""
    drop_invalid: bool = True
    """Leave out unusable records and list them. `false` stops the run with that list instead."""
    max_dropped: float = Field(0.1, ge=0, le=1)
    """Largest share of records that may be unusable or too long and are left out. More stop the run."""
    privacy: Literal["warn", "mask", "drop"] = "warn"
    """Whether personal data and secrets are named, masked as in `[EMAIL_3f2a]`, or their records dropped. With the last
    two, the run stops if one is in anything published; see `docs/privacy.md`."""
    privacy_allow: Annotated[tuple[Text, ...], *LIST, Field(max_length=1000)] = ()
    """Public values, such as your own phone number, in any spelling, or patterns such as `*@shop.example`."""
    language: Text = ""
    """Language of the conversations as an ISO 639-1 code, printed on the card."""
    license: Text = ""
    """Licence of the data, printed on the card."""
    source: Text = ""
    """Where the data comes from, printed on the card as the author's words."""


class AnswersConfig(Section):
    """Answers in the owner's own words: which of them are shown, and when the page says that it does not know."""

    mode: Literal["auto", "ladder", "model"] = "auto"
    """Where an answer comes from. `ladder` shows the owner's words if they are likely to be right, and otherwise says
    that it does not know. `model` lets the tuned model answer everything. `auto` is `ladder` plus the model for
    questions that no answer fits: at once if the data show that it knows more, otherwise if the visitor asks it to."""
    max_wrong: float = Field(0.05, gt=0, lt=1)
    """Largest share of answerable questions that may get a wrong answer shown as sure. A lower value makes the page say
    more often that it does not know."""
    questions: Text = ""
    """A file of questions to measure by (JSONL, CSV or TSV), relative to the configuration file; see
    `docs/answers.md`. `tinsmith questions RUN` writes one to start from. If empty, `writer` writes
    questions from the data."""
    writer: WriterName = "rules"
    """Who writes questions from the data: `rules`, the `base` model, or an OpenAI-compatible endpoint, given by its
    address, such as `http://127.0.0.1:8000/v1`. An endpoint reads passages of your data,
    with their titles."""
    writer_model: WriterModel = ""
    """Name of the endpoint's model. If the endpoint needs a key, set the environment variable `TINSMITH_WRITER_KEY`."""
    wordings: Text = ""
    """A file of wordings, other ways to ask what your passages answer (JSONL, CSV or TSV), relative to the
    configuration file; see `docs/answers.md`. The search compares visitors' questions with them too, and finds more
    right answers. With `publish`, they are part of the site. Empty uses none."""
    encoder: Text = ""
    """Folder of a BERT encoder with mean pooling, used in place of the two built-in ones."""
    unknown: _Reply = "I do not know that."
    """What the page says when no answer is likely enough to be right."""
    hello: _Reply = "Hello! Ask a question, and I will look up the answer."
    """What the page says to a greeting."""
    thanks: _Reply = "You are welcome. What else would you like to know?"
    """What the page says to thanks and praise."""
    goodbye: _Reply = "Goodbye! Come back with a question at any time."
    """What the page says to a goodbye."""
    about: _Reply = "I am a program. I search the answers on this page and show the one that fits, word for word."
    """What the page says to `Who are you?` and `Can you help me?`"""
    owner: Annotated[Text, StringConstraints(strip_whitespace=True, max_length=MAX_OWNER_CHARACTERS)] = ""
    """Whose words the answers are, such as your shop's name. Empty uses the title."""
    publish: bool = False
    """Whether the site may contain the answers and documents, word for word, and the file of `wordings`. Without it,
    the tuned model answers alone. `tinsmith approve` asks and writes this key."""
    publish_questions: bool = False
    """Whether the site may also contain the questions of the data, as titles of their answers. Without it, an answer's
    first words are its title. `tinsmith approve` asks and writes this key."""


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
    """Whether the backward pass recomputes layers instead of storing their activations: less memory, about a quarter
    slower, same result. `auto` recomputes only as many layers as free memory requires."""
    epochs: int = Field(3, ge=1, le=10_000)
    """Passes over the training conversations. The adapter of the epoch with the lowest validation loss is kept."""
    steps: int = Field(0, ge=0, le=10_000_000)
    """Number of optimizer steps, in place of `epochs`. 0 trains for `epochs`."""
    patience: int = Field(0, ge=0, le=10_000)
    """Stop after this many epochs without a lower validation loss. 0 never stops early."""
    learning_rate: float = Field(5e-4, gt=0, le=1)
    """Peak learning rate, reached after the warm-up."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_fraction: float = Field(0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises to its peak."""
    lora_rank: int = Field(16, ge=1, le=1024)
    """Rank of the LoRA adapters (r)."""
    lora_alpha: int = Field(16, ge=1, le=65_536)
    """LoRA scaling: adapters are multiplied by `lora_alpha / lora_rank`."""
    batch_size: int = Field(4, ge=1, le=1024)
    """Conversations in one pass on a CPU. A GPU takes a whole step at once. Both take fewer if memory is short."""
    grad_accum_steps: int = Field(4, ge=1, le=65_536)
    """An optimizer step trains on `batch_size x grad_accum_steps` conversations, over all processes."""
    weight_decay: float = Field(0.0, ge=0, le=10)
    """AdamW's weight decay of the adapters."""
    max_grad_norm: float = Field(1.0, gt=0, le=1e6)
    """Gradients with a larger norm are scaled down to it."""


class ExportConfig(Section):
    """INT4 ONNX package."""

    recipe: Literal["auto", "rtn", "gptq", "mixed"] = "auto"
    """How weights become INT4. `rtn` rounds to nearest in seconds; `gptq` calibrates on training conversations; `mixed`
    is `gptq` with INT8 for the most sensitive matrices. `auto` tries `rtn`, then `mixed`, uses the first within
    `max_perplexity_ratio`, and stops the run if neither is."""
    max_perplexity_ratio: float = Field(1.03, gt=1, le=100)
    """Highest perplexity of INT4 over the tuned model on the validation split that `auto` accepts."""
    max_bits_per_parameter: float = Field(5.0, ge=4.7, le=8.5)
    """Size limit, averaged over all matrices; `mixed` uses it in full. SmolLM2-135M needs 4.66 with every matrix in
    INT4. The run stops if the weights exceed the limit by more than 50 kB per layer."""
    calibration_tokens: int = Field(0, ge=0, le=100_000_000)
    """Training tokens that calibration reads, in whole conversations; a shared opening counts once. 0 means 16,384. On
    a CPU, that default is halved above 275 million parameters and again at every doubling, to save time and memory:
    4,096 for Gemma 3 1B."""
    float16: bool = True
    """Add a graph over the same weights (about 0.2 MB) that computes in float16, for GPUs that support it. It is left
    out if values come close to float16's limits."""
    int8: bool = True
    """Add graphs over the same weights (about 1.4 MB) that multiply in INT8, because WASM has no fast 4-bit product.
    The chat page gets one up to 1.3 billion parameters, plain Transformers.js up to 400 million."""
    gguf: Literal["", "f16", "q8_0", "q4_0"] = ""
    """Also write the tuned model as one GGUF file in this format, for llama.cpp, Ollama and wllama. Empty writes
    none."""
    max_chunk_mb: int = Field(95, ge=1, le=2000)
    """Largest file of weights, in MB of 10^6 bytes. A larger matrix gets a file of its own, with its scales and zero
    points. GitHub rejects files over 100 MiB."""


class EvaluateConfig(Section):
    """Evaluation of base, tuned and int4 on identical token ids."""

    train_sample: int = Field(64, ge=1, le=1_000_000)
    """Training conversations to score, beside the whole validation and test splits."""
    questions: int = Field(24, ge=0, le=100_000)
    """Questions of each group that base, tuned, int4 and the page answer: trained ones, the same in other words, and
    held-out ones. Half as many near and far questions are put to int4 alone."""
    max_new_tokens: int = Field(0, ge=0, le=8192)
    """Longest answer in tokens. An answer that reaches it counts as not stopped. 0 allows a quarter more than 95 % of
    the training answers have, between 64 and 384."""


_Length = Annotated[int, Field(ge=1, le=131_072)]


class BenchConfig(Section):
    """Benchmark in a real browser."""

    devices: Annotated[tuple[Literal["wasm", "webgpu"], ...], *LIST, Field(min_length=1)] = ("wasm", "webgpu")
    """Backends to measure."""
    new_tokens: int = Field(64, ge=2, le=8192)
    """Tokens decoded in one timed run."""
    software_new_tokens: int = Field(2, ge=2, le=8192)
    """Tokens decoded in the only run on a software WebGPU adapter, whose speed says nothing about a GPU."""
    warmup_runs: int = Field(1, ge=1, le=100)
    """Untimed answers before the timed ones."""
    runs: int = Field(5, ge=5, le=1000)
    """Timed answers to a prompt of fixed words, as long as the first test question's."""
    prompt_tokens: Annotated[tuple[_Length, ...], *LIST, Field(max_length=50)] = (32, 256, 1024)
    """Lengths of further prompts to time. Those that do not fit the model are left out."""
    prompt_new_tokens: int = Field(32, ge=2, le=8192)
    """Tokens decoded after each of these prompts."""
    prompt_runs: int = Field(3, ge=1, le=1000)
    """Timed runs of each of these prompts."""
    prompt_seconds: int = Field(120, ge=1, le=86_400)
    """Time limit for the runs of one prompt; a prompt whose first run would take longer is skipped."""
    timeout_seconds: int = Field(900, ge=10, le=604_800)
    """Time limit for each device. A browser that takes longer is stopped with an error."""


class CardExample(Section):
    """A test question and its reference answer, both exactly as in the data."""

    model_config = ConfigDict(str_strip_whitespace=True)

    question: str = Field(min_length=1, max_length=MAX_EXAMPLE_CHARACTERS)
    """First message of the user."""
    reference: str = Field(min_length=1, max_length=MAX_EXAMPLE_CHARACTERS)
    """The assistant's answer to it in the data."""


class CardConfig(Section):
    """Facts that only the author knows. The card marks empty ones as not stated."""

    title: Text = ""
    """Model name on the card. Empty uses the run's name."""
    version: Text = "1.0.0"
    """Version of the model, printed on the card and in the citation."""
    author: Text = ""
    """Name for the contact section and the citation. Without it there is no `CITATION.cff`."""
    email: Text = ""
    """E-mail address for questions about the model."""
    github: Text = ""
    """GitHub account or page of the author."""
    url: Text = ""
    """Address where the model will be published, for the citation."""
    license: Text = ""
    """Licence of the fine-tuned model, as an SPDX id or Hub licence name. Empty inherits the base model's. The terms of
    Gemma and Llama bind every model made from them, whatever stands here."""
    license_link: Text = ""
    """Address of the licence's text, for a licence that is neither an SPDX id nor a Hub licence name."""
    datasets: Texts = ()
    """Hub data sets that the conversations came from, as `org/name`, for the Hub's list of data sets."""
    citation_key: Annotated[Text, Field(pattern=_CITATION_KEY)] = ""
    """BibTeX key of the citation. Empty uses name and year."""
    citation_year: int = Field(0, ge=0, le=9999)
    """Year of the citation. 0 uses the year in which the model was evaluated."""
    hub_id: Text = ""
    """Hub repository as `org/name`, for the How-to-Use snippet."""
    domain: Text = ""
    """What the model knows about, in a few words."""
    intended_uses: Texts = ()
    """What the model is meant for, one text for each use."""
    out_of_scope_uses: Texts = ()
    """What it must not be used for, one text for each use."""
    benefits: Texts = ()
    """Benefits to name under ethical considerations."""
    risks: Texts = ()
    """Risks to name under ethical considerations."""
    mitigations: Texts = ()
    """What was done about these risks."""
    knowledge_cutoff: Text = ""
    """Knowledge cutoff of base model and data, as far as the author knows it."""
    examples: Annotated[tuple[CardExample, ...], *LIST, Field(max_length=MAX_EXAMPLES)] = ()
    """Test questions that the card may show with their reference and each model's answer, as
    `{ question = "...", reference = "..." }`. Conversations appear on the card only if they are repeated here word for
    word; `tinsmith approve` lists candidates, asks, and writes this key."""


_Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION_CHARACTERS)]


class AppConfig(Section):
    """The chat page."""

    questions: Annotated[tuple[_Question, ...], *LIST, Field(max_length=MAX_QUESTIONS)] = ()
    """Suggested questions on the page, exactly as written here; empty shows none. `tinsmith approve` lists candidates
    from the test split, asks, and writes this key."""
    system_prompt: Text = ""
    """System prompt of the page and of the card's code. Empty uses `data.system_prompt`. A prompt that occurs only in
    the conversations is published only if it is repeated here; `tinsmith approve` asks and writes this key."""


class RunConfig(Section):
    """The whole of a `tinsmith.toml`."""

    name: str = Field("my-model", pattern=NAME_PATTERN, max_length=MAX_NAME_LENGTH)
    """Name of the run and its folder `runs/<name>`."""
    seed: int = Field(17, ge=0, le=_MAX_SEED)
    """Seed of the split, the order of training and all sampling."""
    base: BaseConfig = BaseConfig()
    data: DataConfig = DataConfig()
    answers: AnswersConfig = AnswersConfig()
    train: TrainConfig = TrainConfig()
    export: ExportConfig = ExportConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    bench: BenchConfig = BenchConfig()
    card: CardConfig = CardConfig()
    app: AppConfig = AppConfig()

    @property
    def title(self) -> str:
        """Name of the model on card and page."""
        return self.card.title or self.name

    @property
    def owner(self) -> str:
        """Whose words the answers are, as the page says it."""
        return self.answers.owner or self.title

    @property
    def public_system_prompt(self) -> str:
        """The system prompt that page and card may show, in the owner's own words; empty if they wrote none."""
        return (self.app.system_prompt or self.data.system_prompt).strip()
