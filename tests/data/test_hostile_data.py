"""Data that was once lost, misread or refused without a hint is used, or named with what to do."""

import pytest

import hostile_data
from tinsmith.core.config import DataConfig
from tinsmith.core.errors import DataError
from tinsmith.data.stage import check_data

OUTCOMES = {
    "Dolly's context": (13, ""),
    "SQuAD's context": (12, "d.json: title"),
    "choices": (13, ""),
    "weight 0": (12, "every answer has weight 0, so there is nothing to learn"),
    "reasoning_content": (13, "d.jsonl: messages.reasoning_content"),
    "system_prompt": (13, ""),
    "a second list of records": (13, "d.json: authors"),
    "semicolons": (12, ""),
    "tabs in a .csv": (12, ""),
    "line ends of old Macs": (12, ""),
    "UTF-16 of Excel": (12, "d.csv: in UTF-16, read as such"),
    "Latin-1": (0, "it would read 'r rebma?,Café amber.': save the file as UTF-8"),
    "a cell of 200,000 characters": (13, ""),
    "gzip without the ending": (12, "d.jsonl: a gzip file, though its name does not say so"),
    "unknown fields": (0, 'in [data]: fields = { question = "frage", answer = "antwort" }'),
    "tool calls": (12, "a tool call or its result, which is not supported"),
    "a workbook called .csv": (12, "d.csv: read as a workbook, though its name does not say so"),
    "links, a pipe, an empty folder": (12, "pipe.jsonl"),
    "tinsmith's own run folder": (12, "runs/demo"),
}


@pytest.mark.parametrize("name", hostile_data.NAMES)
def test_an_input_is_used_or_named(name, tmp_path):
    count, named = OUTCOMES[name]
    folder = tmp_path / "data"
    hostile_data.write(name, folder)
    try:
        report = check_data(DataConfig(path=str(folder)), seed=0)
    except DataError as error:
        assert count == 0, error.message
        text = error.message
    else:
        assert sum(report.splits.values()) == count
        text = str(report.as_json())
    assert named in text
