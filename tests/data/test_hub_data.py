"""Data sets of the Hub over HTTP from a stand-in on 127.0.0.1: one commit, data files only, nothing that runs."""

import hashlib
import json

import huggingface_hub
import pyarrow
import pyarrow.parquet
import pytest

from hub_stand_in import NAME, stand_in_hub
from tinsmith.core.config import DataConfig
from tinsmith.core.config_file import load_config
from tinsmith.core.errors import DataError
from tinsmith.data.stage import check_data
from tinsmith.pipeline.stages import STAGES


def lines(word, count=12):
    records = ({"question": f"What does {word} {n} cost?", "answer": f"It costs {n} euros."} for n in range(count))
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def parquet(tmp_path, word):
    rows = [{"question": f"Where is {word} {n}?", "answer": f"In row {n}."} for n in range(12)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "one.parquet")
    return (tmp_path / "one.parquet").read_bytes()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    with stand_in_hub(monkeypatch, tmp_path) as hub:
        hub.card = {"license": "cc-by-4.0"}
        yield hub


def read(part="", **settings):
    return check_data(DataConfig(path=f"hf:{NAME}{part}", **settings), seed=0).as_json()


def test_a_data_set_is_pinned_to_a_commit_and_read_by_the_usual_readers(hub, tmp_path):
    hub.create(
        {
            "README.md": b"---\nlicense: cc-by-4.0\n---\n# Tea\n",
            "bot.py": b"raise SystemExit",
            "data/train-00000-of-00001.parquet": parquet(tmp_path, "tea"),
            "more.jsonl": lines("coffee"),
        }
    )
    report = read("@main")
    assert report["data"] == f"hf:{NAME}" and sum(report["splits"].values()) == 24
    assert report["hub"] == {
        "id": NAME,
        "revision": hub.head,
        "part": "",
        "license": "cc-by-4.0",
        "address": f"https://huggingface.co/datasets/{NAME}/tree/{hub.head}",
    }
    assert report["license"] == "" and read(license="MIT")["license"] == "MIT"
    assert f"{report['hub']['address']}; licence as the Hub gives it: cc-by-4.0" in report["notes"]
    assert report["files"] == {
        name: hashlib.sha256(hub.files[name]).hexdigest()
        for name in ("data/train-00000-of-00001.parquet", "more.jsonl")
    }
    fetched = {path.rsplit("/", 1)[1] for method, path in hub.requests if method == "GET" and "/resolve/" in path}
    assert fetched == {"train-00000-of-00001.parquet", "more.jsonl"}
    unused = {item["name"].rsplit("/", 1)[1] for item in report["unused"]}
    assert unused == {"README.md", "bot.py", ".gitattributes"}
    assert {row["name"] for row in report["categories"]} == {"train", "more"}


def test_configuration_and_split_are_chosen_by_the_readme(hub):
    hub.card = {
        "configs": [
            {"config_name": "en", "data_files": [{"split": "train", "path": "en/*.jsonl"}]},
            {
                "config_name": "sv",
                "data_dir": "sv",
                "data_files": [{"split": "train", "path": ["a.jsonl"]}, {"split": "test", "path": "b.jsonl"}],
            },
        ]
    }
    hub.create({"en/x.jsonl": lines("bread"), "sv/a.jsonl": lines("smör"), "sv/b.jsonl": lines("ost")})
    assert list(read("#en")["files"]) == ["en/x.jsonl"]
    assert list(read("#sv")["files"]) == ["sv/a.jsonl", "sv/b.jsonl"]
    assert list(read("#sv/test")["files"]) == ["sv/b.jsonl"]
    with pytest.raises(DataError, match="it has 2 configurations: en, sv"):
        read()
    with pytest.raises(DataError, match="no configuration or split 'sv/dev'") as refused:
        read("#sv/dev")
    assert refused.value.hint == "There are: en, sv, train, test."


def test_without_a_readme_folders_and_names_of_files_are_the_parts(hub):
    hub.create(
        {"train-00000-of-00002.jsonl": lines("a"), "train-00001-of-00002.jsonl": lines("b"), "test.jsonl": lines("c")}
    )
    assert list(read("#train")["files"]) == ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"]
    with pytest.raises(DataError, match="no folder or file 'dev'") as refused:
        read("#dev")
    assert refused.value.hint == "There are: test, train."


def test_a_script_is_never_fetched_and_the_converted_files_are_proposed(hub):
    hub.create({"bot.py": b"raise SystemExit"})
    with pytest.raises(DataError, match=r"its script bot\.py makes them, and tinsmith runs no scripts") as refused:
        read()
    assert f"hf:{NAME}@refs/convert/parquet" in refused.value.hint
    assert not [path for _, path in hub.requests if "/resolve/" in path]


def test_a_download_that_differs_from_the_hubs_listing_is_refused(hub):
    hub.create({"a.jsonl": lines("tea")})
    hub.listed_sha256["a.jsonl"] = "0" * 64
    with pytest.raises(DataError, match=f"a.jsonl has sha256 [0-9a-f]{{64}}, the Hub lists {'0' * 64}"):
        read()


def test_without_a_network_the_copy_of_an_earlier_run_is_used_if_it_is_whole(hub, monkeypatch, tmp_path):
    hub.create({"a.jsonl": lines("tea"), "b.jsonl": lines("coffee")})
    online = read()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert read() == online
    with pytest.raises(DataError, match="cannot be reached and its cache lacks the data set"):
        read("#a")
    next((tmp_path / "hub-cache").rglob("b.jsonl")).unlink()
    with pytest.raises(DataError, match="cannot be reached and its cache lacks the data set"):
        read()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"hf:{NAME}@dev", "at revision 'dev': no such branch, tag or commit"),
        ("hf:tea/other", "no such dataset, or it is private"),
        ("hf:a b", "not a dataset name"),
        ("hf:", "names no data set"),
    ],
)
def test_what_the_hub_refuses_is_explained(hub, path, message):
    hub.create({"a.jsonl": lines("tea")})
    with pytest.raises(DataError, match=message):
        check_data(DataConfig(path=path), seed=0)


def test_problems_name_the_data_set_and_the_file(hub):
    hub.create({"a.jsonl": lines("tea") + b"{broken\n"})
    with pytest.raises(DataError, match=rf"hf:{NAME}/a\.jsonl:13:2: not JSON"):
        read()


def test_the_revision_is_part_of_what_the_stage_depends_on(tmp_path):
    file = tmp_path / "tinsmith.toml"
    (data,) = (stage for stage in STAGES if stage.name == "data")
    settings = []
    for revision in ("v1", "v2"):
        file.write_text(f'[data]\npath = "hf:{NAME}@{revision}"\n')
        config = load_config(file)
        assert config.data.path == f"hf:{NAME}@{revision}"
        settings.append((data.settings(config), data.outside(config, None)))
    assert settings[0] != settings[1]
