"""`tinsmith publish --to hf:NAME` against a Hub on this machine: exactly the model arrives, the token goes nowhere."""

import socket

import huggingface_hub
import pytest
from click.testing import CliRunner

from finished_run import change_site, contents_of, copy_of_finished_run, mark_of
from hub_stand_in import LARGE_BYTES, NAME, TOKEN, stand_in_hub
from tinsmith.cli import main
from tinsmith.commands.publish_plan import MARK_FILE
from tinsmith.core.run_dir import tree_sha256s


@pytest.fixture
def run(tmp_path, tmp_path_factory):
    return copy_of_finished_run(tmp_path_factory, tmp_path / "tea-bot")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr("tinsmith.commands.publish_hub._PAUSES_SECONDS", (0.0, 0.0))
    with stand_in_hub(monkeypatch, tmp_path) as hub:
        yield hub


@pytest.fixture
def publish(run, hub, capfd):
    """Publish to the stand-in; the token appears neither in what is printed nor in what is sent besides the header."""

    def run_command(*options, name=NAME, answer=""):
        done = CliRunner().invoke(main, ["publish", str(run.root), "--to", f"hf:{name}", *options], input=answer)
        printed = done.output + repr(done.exception) + "".join(capfd.readouterr())
        assert TOKEN not in printed and not any(TOKEN.encode() in body for body in hub.bodies)
        return done

    return run_command


def refused(done, *words):
    assert done.exit_code == 2 and done.stderr.count("error: ") == 1 and "  -> " in done.stderr, done.output
    for word in words:
        assert word in done.stderr, done.stderr


def is_published(run, hub) -> bool:
    """Whether the repository holds the model, its mark with the right digests, and otherwise only the Hub's file."""
    model = run.stage("app") / "model"
    arrived = {name: content for name, content in hub.files.items() if name not in (".gitattributes", MARK_FILE)}
    digests = {path: [digest] for path, digest in tree_sha256s(model).items()}
    return arrived == contents_of(model) and mark_of(hub.files[MARK_FILE]) == digests


def test_exactly_the_model_arrives_in_a_private_repository(run, hub, publish):
    done = publish("--yes")
    assert done.exit_code == 0, done.output
    assert is_published(run, hub) and hub.private and hub.commits == 2
    assert hub.files["README.md"] == (run.stage("card") / "README.md").read_bytes()
    assert "model/README.md" not in hub.files and "index.html" not in hub.files
    assert hub.tokens <= {f"Bearer {TOKEN}", None} and f"Bearer {TOKEN}" in hub.tokens
    assert f"{run.stage('app') / 'model'} -> hf:{NAME}" in done.stdout and f"{hub.url}/{NAME}" in done.stderr


def test_it_is_public_only_on_demand(run, hub, publish):
    assert publish("--yes", "--public").exit_code == 0
    assert not hub.private and is_published(run, hub)
    change_site(run, {"model/new.json": b"{}"})
    before = list(hub.sent)
    refused(publish("--yes"), "everyone can read this repository", "--public")
    assert hub.sent == before


def test_a_private_repository_stays_private(hub, publish):
    assert "(a new private repository)" in publish("--yes").stdout
    done = publish("--yes", "--public")
    assert "(a private repository, which --public does not change" in done.stdout and hub.private


def test_a_dry_run_sends_nothing(run, hub, publish):
    done = publish("--dry-run", "--public")
    assert done.exit_code == 0 and hub.sent == [] and not hub.exists
    assert f"-> hf:{NAME} (a new public repository)\n" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert [row[-1] for row in rows] == sorted(contents_of(run.stage("app") / "model"))
    assert f"Next: tinsmith publish {run.root} --to hf:{NAME} --public" in done.stderr


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_nothing_is_sent_without_a_yes(hub, publish, monkeypatch, answer):
    monkeypatch.setattr("tinsmith.commands.publish._is_terminal", lambda: True)
    done = publish(answer=answer)
    assert done.exit_code == 0 and "Nothing was published." in done.stderr and hub.sent == []


def test_without_a_terminal_nothing_is_sent(hub, publish):
    refused(publish(answer="y\n"), "no terminal", "--yes")
    assert hub.sent == []


def test_the_second_time_sends_nothing(hub, publish):
    publish("--yes")
    before = list(hub.sent)
    done = publish()
    assert done.exit_code == 0 and "Nothing to do" in done.stderr and hub.sent == before


def test_only_what_changed_is_sent_and_what_is_gone_is_removed(run, hub, publish):
    publish("--yes")
    hub.files["NOTES.md"] = b"the owner's own"
    hub.requests.clear()
    change_site(
        run, {"model/onnx/model_q4.onnx_data": bytes(256), "model/config.json": b"[]\n", "model/tokenizer.json": None}
    )
    done = publish("--yes")
    assert done.exit_code == 0, done.output
    assert hub.files.pop("NOTES.md") == b"the owner's own" and is_published(run, hub)
    assert "2 changed, 1 removed" in done.stdout and ".gitattributes, NOTES.md" in done.stdout
    assert len([path for _, path in hub.sent if path.startswith("/large/")]) == 2, "the weights and the mark"


def test_a_repository_of_somebody_else_is_refused(hub, publish):
    hub.create({"model.safetensors": b"precious"})
    refused(publish("--yes"), f"{NAME}: not published by tinsmith", "'model.safetensors'", "new or empty")
    assert hub.sent == [] and hub.files["model.safetensors"] == b"precious"


def test_a_file_that_somebody_changed_is_neither_replaced_nor_removed(run, hub, publish):
    publish("--yes")
    hub.files |= {"model_notes.md": b"mine", "README.md": b"a better card", "config.json": b"a better configuration"}
    before = list(hub.sent)
    refused(publish("--yes"), "2 file(s)", "README.md", "config.json", "changed or written by somebody else", "Move")
    assert hub.sent == before
    del hub.files["README.md"], hub.files["config.json"]
    hub.files["onnx/model_int8.onnx"] = b"a better graph"
    change_site(run, {"model/onnx/model_int8.onnx": None, "model/onnx/model_quantized.onnx": None})
    done = publish("--yes")
    assert done.exit_code == 0 and "2 new, 1 removed" in done.stdout, done.output
    assert hub.files.pop("onnx/model_int8.onnx") == b"a better graph" and hub.files.pop("model_notes.md") == b"mine"
    assert is_published(run, hub)


def test_an_empty_repository_is_a_target(run, hub, publish):
    hub.create({})
    assert publish("--yes").exit_code == 0
    assert is_published(run, hub) and ("POST", "/api/repos/create") not in hub.sent


@pytest.mark.parametrize("place", ["GET /api/models/", "POST /api/repos/create", f"POST /api/models/{NAME}/commit"])
@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ("does not accept your token", "hf auth login")),
        (403, ("may not write there", "write access to tea")),
        (418, ("publishing failed (status 418): refused Bearer ...", "run the same command again")),
    ],
)
def test_a_refusal_is_explained_and_repaired(run, hub, publish, place, status, words):
    hub.failures[place] = [status] * 3
    refused(publish("--yes"), *words)
    assert bool(hub.sent) == (not place.startswith("GET"))
    hub.failures.clear()
    assert publish("--yes").exit_code == 0 and is_published(run, hub)


@pytest.mark.parametrize(
    "place", ["GET /api/models/", "POST /api/repos/create", f"POST /api/models/{NAME}/commit", "PUT /large/"]
)
def test_a_server_that_fails_once_is_asked_again(run, hub, publish, place):
    hub.failures[place] = [500]
    assert publish("--yes").exit_code == 0
    assert is_published(run, hub) and hub.failures[place] == []


def test_a_server_that_keeps_failing_is_an_error(hub, publish):
    hub.failures["POST /api/repos/create"] = [503] * 3
    refused(publish("--yes"), "publishing failed (status 503)", "run the same command again")
    assert hub.failures["POST /api/repos/create"] == [] and not hub.exists


def test_a_commit_of_somebody_else_meanwhile_is_not_overwritten(run, hub, publish, monkeypatch):
    hub.create({})
    monkeypatch.setattr(
        "tinsmith.commands.publish._confirmed", lambda target: hub.create({"other.txt": b"precious"}) is None
    )
    refused(publish(), "somebody committed since", "Run the same command again")
    assert hub.files.keys() == {".gitattributes", "other.txt"}


def test_what_arrived_before_ctrl_c_is_not_sent_again(run, hub, publish):
    def stop(**_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("huggingface_hub._commit_api._send_commit", stop)
        done = publish("--yes")
    assert done.exit_code == 130 and "run the same command again" in done.stderr
    assert hub.files.keys() == {".gitattributes"}
    large = {content for content in contents_of(run.stage("app") / "model").values() if len(content) > LARGE_BYTES}
    assert len(hub.stored) == len(large) + 1, "the large files and the mark, which is not small either"
    hub.requests.clear()
    assert publish("--yes").exit_code == 0 and is_published(run, hub)
    assert not [path for _, path in hub.sent if path.startswith("/large/")]


def test_a_file_that_the_hub_leaves_out_is_an_error(hub, publish):
    hub.ignored = {"config.json"}
    refused(publish("--yes"), "1 file(s) are not as sent, such as config.json", ".gitignore")


def test_a_card_that_the_hub_does_not_accept_is_an_error(hub, publish):
    hub.failures["POST /api/validate-yaml"] = [400]
    refused(publish("--yes"), "publishing failed (status 400): Invalid metadata in README.md")
    assert hub.files.keys() == {".gitattributes"}


def test_a_tampered_card_is_refused_before_anything_is_asked(run, hub, publish):
    path = run.stage("card") / "README.md"
    path.write_text(path.read_text().replace("Tea Shop", "Best Tea Shop", 1))
    refused(publish("--yes"), "the card does not match the run")
    assert hub.requests == []


def test_a_damaged_mark_is_refused(run, hub, publish):
    hub.create({MARK_FILE: b"{}"})
    refused(publish("--yes"), f"{MARK_FILE}: not the list of published files")
    assert hub.sent == []


def test_without_a_token_nothing_is_asked(hub, publish, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    refused(publish("--yes"), "no token", "hf auth login", "HF_TOKEN")
    assert hub.requests == []


def test_offline_mode_is_explained(hub, publish, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    refused(publish("--yes"), "HF_HUB_OFFLINE is set")
    assert hub.requests == []


def test_a_hub_that_cannot_be_reached_is_explained(publish, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        refused(publish("--yes"), "publishing failed", "Check the network")


@pytest.mark.parametrize("endpoint", ["http://hub.example", "ftp://127.0.0.1x"])
def test_the_token_is_not_sent_unencrypted(hub, publish, monkeypatch, endpoint):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    refused(publish("--yes"), f"HF_ENDPOINT is {endpoint}", "https")


@pytest.mark.parametrize("name", ["bot", "", "tea/bot/more", "tea/..", "tea/b t"])
def test_what_is_no_name_is_refused(hub, publish, name):
    refused(publish("--yes", name=name), "not the name of a repository", "hf:organisation/name")
    assert hub.requests == []


def test_a_card_whose_code_loads_another_repository_is_pointed_out(run, hub, publish):
    assert "careful" not in publish("--dry-run").stderr
    done = publish("--dry-run", name="coffee/bot")
    assert "card.hub_id is 'tea/bot'" in done.stderr and '"coffee/bot"' in done.stderr
