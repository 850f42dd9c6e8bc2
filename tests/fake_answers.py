"""A folder of answers as the knowledge stage writes it, with files too small to be encoders."""

from collections.abc import Sequence
from pathlib import Path

from tinsmith.core.run_dir import tree_sha256s, write_bytes, write_json, write_text
from tinsmith.model.passages import Passage

KINDS = {
    "graph": "minilm.onnx",
    "weights": "minilm.bin",
    "layout": "minilm.json",
    "tokenizer": "minilm.tokenizer.json",
    "index": "minilm.index.bin",
}


def write_fake_answers(folder: Path, passages: Sequence[Passage]) -> None:
    """Write the folder; its five encoder files have as many bytes as their names, and start as such files do."""
    for name in KINDS.values():
        start = {"onnx": b"\x08\x0a", "json": b"{}"}.get(name.rpartition(".")[2], b"")
        write_bytes(folder / name, start + b" " * (len(name) - len(start)))
    fields = ("id", "kind", "title", "text", "category")
    records = [
        {name: getattr(passage, name) for name in fields}
        | {
            "source": {"name": passage.source.name, "place": passage.source.place, "url": "", "date": ""},
            "wordings": list(passage.wordings),
            "rows": 2,
            "question_rows": 0,
        }
        for passage in passages
    ]
    write_json(folder / "passages.json", records)
    settings = {
        "encoders": [{"name": "minilm", "id": "tea/mini-encoder", "license": "Apache-2.0", **KINDS}],
        "passages": "passages.json",
        "ladder": {"sure": 0.625, "likely": 0.375},
        "fallback": "unknown",
        "unknown": "as built",
    }
    write_json(folder / "answers.json", settings)
    lines = (f"{digest}  {name}\n" for name, digest in tree_sha256s(folder).items())
    write_text(folder / "SHA256SUMS", "".join(lines))
