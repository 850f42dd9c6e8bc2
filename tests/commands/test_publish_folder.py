"""`tinsmith publish --to FOLDER`: exactly the site arrives, only what differs is written, the rest stays."""

import fcntl
import os
import re
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fake_stages import files_end_at
from finished_run import change_site, contents_of, copy_of_finished_run, mark_of
from tinsmith.cli import main
from tinsmith.commands import publish_folder
from tinsmith.commands.publish_plan import MARK_FILE, size_text
from tinsmith.core.run_dir import RunDir, file_sha256, is_unfinished, read_json, tree_sha256s, write_json

KILLED_IN_THE_MIDDLE = """
import os, signal
from tinsmith.cli import main
from tinsmith.commands import publish_folder
copy_file, copied = publish_folder.copy_file, []
def copy_or_die(source, target):
    if len(copied) == {files}:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes()[:5])
        os.kill(os.getpid(), signal.SIGKILL)
    copied.append(source)
    copy_file(source, target)
publish_folder.copy_file = copy_or_die
main()
"""


@pytest.fixture
def run(tmp_path, tmp_path_factory):
    return copy_of_finished_run(tmp_path_factory, tmp_path / "tea-bot")


@pytest.fixture
def site(tmp_path):
    """Where to publish; not there yet."""
    return tmp_path / "public"


@pytest.fixture
def copied(monkeypatch):
    """Names of the files that are copied."""
    names, copy_file = [], publish_folder.copy_file

    def copy_and_note(source, target):
        names.append(source.name)
        copy_file(source, target)

    monkeypatch.setattr(publish_folder, "copy_file", copy_and_note)
    return names


def publish(run: RunDir, target, *options, answer=""):
    return CliRunner().invoke(main, ["publish", str(run.root), "--to", str(target), *options], input=answer)


def published(run, site):
    done = publish(run, site, "--yes")
    assert done.exit_code == 0, done.output
    return done


def refused(done, *words):
    assert done.exit_code == 2 and done.stderr.count("error: ") == 1 and "  -> " in done.stderr, done.output
    for word in words:
        assert word in done.stderr, done.stderr


def is_published(run, site) -> bool:
    """Whether the folder holds the site, its mark with the right digests, and nothing else."""
    expected, found = contents_of(run.stage("app")), contents_of(site)
    written = mark_of(found.pop(MARK_FILE))
    return found == expected and written == {path: [d] for path, d in tree_sha256s(run.stage("app")).items()}


def kill_in_the_middle(run, site, files):
    """Publish, and be killed while the file after the first `files` is half-written."""
    code = KILLED_IN_THE_MIDDLE.format(files=files)
    command = [sys.executable, "-c", code, "publish", str(run.root), "--to", str(site), "--yes"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len([path for path in site.rglob("*") if is_unfinished(path)]) == 1


def test_the_first_time_the_whole_site_arrives(run, site):
    done = published(run, site)
    assert is_published(run, site)
    assert f"{run.stage('app')} -> {site}" in done.stdout and f"published: {site}" in done.stdout
    assert "HOSTING.md" in done.stderr and "hf:ORGANISATION/NAME" in done.stderr
    assert not any(path.is_symlink() for path in site.rglob("*"))
    assert not {p.stat().st_ino for p in site.rglob("*")} & {p.stat().st_ino for p in run.root.rglob("*")}


def test_a_dry_run_lists_every_file_and_writes_nothing(run, site):
    done = publish(run, site, "--dry-run")
    assert done.exit_code == 0 and not site.exists()
    app = run.stage("app")
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert [row[-1] for row in rows] == sorted(contents_of(app)) and {row[0] for row in rows} == {"new"}
    assert ["new", "25.6", "kB", "runtime/ort.wasm"] in rows and ["new", "0", "B", ".nojekyll"] in rows
    size_bytes = sum(map(len, contents_of(app).values()))
    assert f"{len(rows)} files, {size_text(size_bytes)}: {len(rows)} new\n" in done.stdout
    assert "dry run" in done.stderr and f"Next: tinsmith publish {run.root} --to {site}" in done.stderr


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_nothing_is_written_without_a_yes(run, site, monkeypatch, answer):
    monkeypatch.setattr("tinsmith.commands.publish._is_terminal", lambda: True)
    done = publish(run, site, answer=answer)
    assert done.exit_code == 0 and "Nothing was published." in done.stderr and not site.exists()
    assert f"Publish to {site}? [y/N]" in done.stderr


def test_a_yes_publishes(run, site, monkeypatch):
    monkeypatch.setattr("tinsmith.commands.publish._is_terminal", lambda: True)
    assert publish(run, site, answer="y\n").exit_code == 0
    assert is_published(run, site)


def test_without_a_terminal_it_stops(run, site):
    refused(publish(run, site, answer="y\n"), "no terminal", "--yes")
    assert not site.exists()


def test_the_second_time_there_is_nothing_to_do(run, site, copied):
    published(run, site)
    copied.clear()
    done = publish(run, site)
    assert done.exit_code == 0 and "Nothing to do" in done.stderr and copied == []
    assert "all there already" in done.stdout


def test_only_what_changed_is_written_and_what_is_gone_is_removed(run, site, copied):
    published(run, site)
    copied.clear()
    gone = {"runtime/ort.wasm": None, "model/tokenizer.json": None}
    change_site(run, {"chat.js": b"better", "model/new.json": b"{}", **gone})
    done = published(run, site)
    assert sorted(copied) == ["SHA256SUMS", "chat.js", "new.json"] and is_published(run, site)
    assert not (site / "runtime").exists(), "an empty folder goes with its last file"
    assert "2 removed" in done.stdout and "1 new, 2 changed" in done.stdout
    assert "  removed   25.6 kB  runtime/ort.wasm" in done.stdout


def test_files_that_tinsmith_did_not_write_stay(run, site):
    published(run, site)
    (site / "CNAME").write_text("tea.example")
    (site / "runtime/notes.txt").write_text("precious")
    (site / "chat.js").write_text("my own")
    change_site(run, {"runtime/ort.wasm": None, "chat.js": None})
    done = published(run, site)
    assert (site / "CNAME").read_text() == "tea.example" and (site / "runtime/notes.txt").read_text() == "precious"
    assert (site / "chat.js").read_text() == "my own" and not (site / "runtime/ort.wasm").exists()
    assert "left as they are: CNAME, chat.js, runtime/notes.txt" in done.stdout


def test_a_new_git_repository_counts_as_empty_and_its_history_stays(run, site):
    (site / ".git/objects").mkdir(parents=True)
    (site / ".git/HEAD").write_text("ref: refs/heads/main")
    published(run, site)
    assert (site / ".git/HEAD").read_text() == "ref: refs/heads/main"
    assert (site / "index.html").exists() and ".git/HEAD" not in mark_of((site / MARK_FILE).read_bytes())


@pytest.mark.parametrize("options", [["--yes"], ["--dry-run"]])
def test_a_folder_of_somebody_else_is_refused(run, site, options):
    site.mkdir()
    (site / "thesis.txt").write_text("precious")
    refused(
        publish(run, site, *options), "public: not published by tinsmith", MARK_FILE, "'thesis.txt'", "new or empty"
    )
    assert contents_of(site) == {"thesis.txt": b"precious"}


def test_a_file_that_somebody_changed_is_not_replaced(run, site):
    published(run, site)
    (site / "_headers").write_text("my own headers")
    before = contents_of(site)
    refused(publish(run, site, "--yes"), "changed or written by somebody else", "_headers", "Move them elsewhere")
    assert contents_of(site) == before
    (site / "_headers").unlink()
    published(run, site)
    assert is_published(run, site)


def test_a_file_in_the_place_of_a_folder_is_refused(run, site):
    site.write_text("precious")
    refused(publish(run, site, "--yes"), "not a folder")
    assert site.read_text() == "precious"


@pytest.mark.parametrize("inside", ["", "app", "public"])
def test_the_run_itself_is_no_target(run, inside):
    before = contents_of(run.root)
    refused(publish(run, run.root / inside, "--yes"), "lies in the run folder")
    assert contents_of(run.root) == before


@pytest.mark.parametrize("name", ["chat.js", "model", "model/README.md", MARK_FILE])
def test_a_link_is_not_followed(run, site, tmp_path, name):
    published(run, site)
    elsewhere = tmp_path / "elsewhere"
    (site / name).rename(elsewhere)
    (site / name).symlink_to(elsewhere)
    before = file_sha256(elsewhere) if elsewhere.is_file() else tree_sha256s(elsewhere)
    change_site(run, {"chat.js": b"better", "model/README.md": None})
    words = ("not published by tinsmith",) if name == MARK_FILE else (f"public/{name}: a link", "Remove the link")
    # A card that is gone from the site is no longer the run's, so look only at what the target says.
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("tinsmith.commands.publish.require_true_card", lambda run: None)
        refused(publish(run, site, "--yes"), *words)
    assert (file_sha256(elsewhere) if elsewhere.is_file() else tree_sha256s(elsewhere)) == before


def test_a_link_to_an_empty_folder_is_a_target(run, site, tmp_path):
    (tmp_path / "disk").mkdir()
    site.symlink_to(tmp_path / "disk")
    published(run, site)
    assert is_published(run, tmp_path / "disk")


@pytest.mark.parametrize("files", [0, 3])
def test_a_kill_in_the_middle_is_repaired(run, site, files):
    kill_in_the_middle(run, site, files)
    arrived = {path: content for path, content in contents_of(site).items() if path != MARK_FILE}
    whole = [path for path, content in contents_of(run.stage("app")).items() if arrived.get(path) == content]
    assert len(whole) == files and len(arrived) == files + 1
    published(run, site)
    assert is_published(run, site)


def test_a_kill_in_the_middle_of_a_change_is_repaired_even_by_going_back(run, site):
    published(run, site)
    before = contents_of(run.stage("app"))
    change_site(run, {"chat.js": b"better", "device.js": b"better", "index.html": b"better", "runtime/ort.wasm": None})
    kill_in_the_middle(run, site, files=2)
    change_site(run, before)
    kill_in_the_middle(run, site, files=1)
    published(run, site)
    assert is_published(run, site)


def test_visitors_open_a_page_only_after_what_it_loads(run, site, copied):
    published(run, site)
    assert copied[-1] == "index.html" and copied.index("ort.wasm") < copied.index("chat.js")


def test_ctrl_c_leaves_no_half_file(run, site):
    copy_file, copied = publish_folder.copy_file, []

    def copy_or_stop(source, target):
        copy_file(source, target)
        copied.append(source)
        if len(copied) == 4:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(publish_folder, "copy_file", copy_or_stop)
        done = publish(run, site, "--yes")
    assert done.exit_code == 130 and "run the same command again" in done.stderr
    arrived = contents_of(site)
    assert len(arrived) == 3 + 1 and arrived.items() - {MARK_FILE: arrived[MARK_FILE]}.items() <= (
        contents_of(run.stage("app")).items()
    )
    published(run, site)
    assert is_published(run, site)


def test_a_full_disk_is_a_message_and_is_repaired(run, site):
    with files_end_at(20_000):
        refused(publish(run, site, "--yes"), "File too large", "Free some disk space")
    assert not (site / "runtime/ort.wasm").exists() and not any(is_unfinished(path) for path in site.rglob("*"))
    published(run, site)
    assert is_published(run, site)


def test_a_file_that_changes_while_it_is_copied_does_not_arrive(run, site, monkeypatch):
    published(run, site)
    old = (site / "chat.js").read_bytes()
    change_site(run, {"chat.js": b"better"})
    monkeypatch.setattr(publish_folder, "copy_file", lambda source, target: target.write_bytes(b"worse!"))
    refused(publish(run, site, "--yes"), "changed while it was published")
    assert (site / "chat.js").read_bytes() == old and not any(is_unfinished(path) for path in site.rglob("*"))


def test_a_folder_that_changes_before_the_answer_is_left_alone(run, site, monkeypatch):
    published(run, site)
    change_site(run, {"chat.js": b"better"})
    monkeypatch.setattr(
        "tinsmith.commands.publish._confirmed", lambda target: (site / "chat.js").write_text("mine") and True
    )
    refused(publish(run, site), "chat.js")
    assert (site / "chat.js").read_text() == "mine"


def test_two_do_not_publish_to_one_folder_at_once(run, site):
    site.mkdir()
    descriptor = os.open(site, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        refused(publish(run, site, "--yes"), "another tinsmith is publishing")
    finally:
        os.close(descriptor)
    assert contents_of(site) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": {"../tea-bot/app/chat.js": ["0"]}}'])
def test_a_damaged_mark_is_refused(run, site, text):
    published(run, site)
    (site / MARK_FILE).write_text(text)
    before = contents_of(site)
    refused(publish(run, site, "--yes"), f"{MARK_FILE}: not the list of published files")
    assert contents_of(site) == before


def test_a_tampered_card_is_refused_before_anything_is_written(run, site):
    path = run.stage("card") / "README.md"
    path.write_text(path.read_text().replace("Tea Shop", "Best Tea Shop", 1))
    refused(publish(run, site, "--yes"), "the card does not match the run", "card/README.md", "tinsmith card")
    assert not site.exists()


def test_a_tampered_number_is_refused_even_with_a_new_stamp(run, site):
    path = run.stage("card") / "README.md"
    path.write_text(re.sub(r"\d+\.\d+", "9.99", path.read_text(), count=1))
    write_json(run.stamp("card"), {**read_json(run.stamp("card")), "outputs": tree_sha256s(run.stage("card"))})
    change_site(run, {"model/README.md": path.read_bytes()})
    refused(publish(run, site, "--yes"), "the card does not match the run", "card/README.md:")
    assert not site.exists()


def test_a_tampered_site_is_refused(run, site):
    (run.stage("app") / "chat.js").write_text("evil")
    refused(publish(run, site, "--yes"), "app/chat.js: changed since the app stage")
    assert not site.exists()


def test_an_unfinished_run_is_refused(run, site):
    run.stamp("bench").unlink()
    refused(publish(run, site, "--yes"), "not finished: no bench", "tinsmith run")
    assert not site.exists()


def test_a_site_older_than_its_card_is_refused(run, site):
    (run.stage("card") / "README.md").write_text("a new card")
    write_json(run.stamp("card"), {**read_json(run.stamp("card")), "outputs": tree_sha256s(run.stage("card"))})
    refused(publish(run, site, "--yes"), "app was made before card/README.md changed", "tinsmith run")
    assert not site.exists()


def test_a_folder_that_is_no_run_is_refused(site, tmp_path):
    refused(publish(RunDir(tmp_path), site, "--yes"), "not a run folder")


def test_public_is_for_the_hub(run, site):
    refused(publish(run, site, "--yes", "--public"), "--public")


def test_a_file_too_large_for_github_pages_is_named(run, site, monkeypatch):
    assert "GitHub" not in publish(run, site, "--dry-run").stderr
    change_site(run, {"runtime/ort.wasm": bytes(500_000)})
    monkeypatch.setattr("tinsmith.commands.publish._GITHUB_BYTES", 499_999)
    assert (
        "GitHub Pages takes no file above 100 MiB, such as runtime/ort.wasm" in publish(run, site, "--dry-run").stderr
    )
