"""`tinsmith publish --to HOST:FOLDER` and `--to space:NAME`: only what the host reads, and nothing above its limits."""

import pytest
from click.testing import CliRunner

from finished_run import change_site, contents_of, copy_of_finished_run, mark_of
from hub_stand_in import NAME, stand_in_hub
from tinsmith.app import write_host_files
from tinsmith.cli import main
from tinsmith.commands import publish_hosts
from tinsmith.commands.publish_hosts import HOST_FILES, HOSTS, split_host
from tinsmith.commands.publish_plan import MARK_FILE

OTHERS = {name: f"this is {name}\n".encode() for name in HOST_FILES}


@pytest.fixture
def run(tmp_path, tmp_path_factory):
    run = copy_of_finished_run(tmp_path_factory, tmp_path / "tea-bot")
    change_site(run, OTHERS)
    return run


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr("tinsmith.commands.publish_hub._PAUSES_SECONDS", (0.0, 0.0))
    with stand_in_hub(monkeypatch, tmp_path) as hub:
        yield hub


def publish(run, target, *options):
    return CliRunner().invoke(main, ["publish", str(run.root), "--to", target, *options])


def site_for(run, *reads):
    contents = contents_of(run.stage("app"))
    return {path: content for path, content in contents.items() if path not in HOST_FILES or path in reads}


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_gets_the_files_that_it_reads_and_no_others(run, tmp_path, name):
    site = tmp_path / "public"
    done = publish(run, f"{name}:{site}", "--yes")
    assert done.exit_code == 0, done.output
    arrived = contents_of(site)
    assert set(mark_of(arrived.pop(MARK_FILE))) == set(arrived) and arrived == site_for(run, *HOSTS[name].reads)
    assert publish(run, f"{name}:{site}", "--yes").stderr.count("Nothing to do") == 1


def test_another_host_replaces_what_the_first_one_read(run, tmp_path):
    site = tmp_path / "public"
    assert publish(run, f"netlify:{site}", "--yes").exit_code == 0
    assert publish(run, f"vercel:{site}", "--yes").exit_code == 0
    assert HOST_FILES & contents_of(site).keys() == {"vercel.json"}


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("max_file_bytes", 20_000, ("runtime/ort.wasm: 25.6 kB; a file may have 20,000 bytes",)),
        ("max_site_bytes", 50_000, ("in all; a site may have 50.0 kB",)),
        ("max_files", 10, ("files; a site may have 10",)),
    ],
)
def test_a_site_above_a_limit_is_refused_before_anything_is_written(run, tmp_path, monkeypatch, limit, value, words):
    limits = {"name": "A host", "documented_at": "https://host.example/limits"}
    monkeypatch.setitem(publish_hosts.HOSTS, "github-pages", publish_hosts.Host(**limits, **{limit: value}))
    done = publish(run, f"github-pages:{tmp_path / 'public'}", "--yes")
    assert done.exit_code == 2 and "A host does not take this site" in done.stderr, done.output
    assert "https://host.example/limits" in done.stderr and all(word in done.stderr for word in words), done.stderr
    assert not (tmp_path / "public").exists()


def test_every_file_for_a_host_belongs_to_one(tmp_path):
    write_host_files(tmp_path, "Tea")
    assert contents_of(tmp_path).keys() - {"HOSTING.md", "404.html"} == HOST_FILES


def test_hosts_with_limits_say_where_they_are_documented():
    for host in HOSTS.values():
        has_limit = any((host.max_file_bytes, host.max_site_bytes, host.max_files))
        assert bool(host.documented_at) == has_limit


def test_a_dry_run_writes_nothing(run, tmp_path, hub):
    assert publish(run, f"netlify:{tmp_path / 'public'}", "--dry-run").exit_code == 0
    done = publish(run, f"space:{NAME}", "--dry-run")
    assert done.exit_code == 0 and "a new private Space" in done.stdout, done.output
    assert not (tmp_path / "public").exists() and hub.sent == []


def test_a_new_space_gets_the_site_instead_of_the_hubs_pages(run, hub):
    done = publish(run, f"space:{NAME}", "--yes")
    assert done.exit_code == 0 and f"{hub.url}/spaces/{NAME}" in done.output, done.output
    assert hub.kind == "space" and hub.private
    arrived = {path: content for path, content in hub.files.items() if path not in (".gitattributes", MARK_FILE)}
    assert arrived == site_for(run, "README.md") and "style.css" not in arrived
    assert "Nothing to do" in publish(run, f"space:{NAME}", "--yes").stderr


def test_a_space_whose_first_commit_failed_is_continued(run, hub):
    hub.failures[f"POST /api/spaces/{NAME}/commit"] = [400]
    assert publish(run, f"space:{NAME}", "--yes").exit_code == 2
    assert hub.files["index.html"] == b"the Hub's own\n"
    assert publish(run, f"space:{NAME}", "--yes").exit_code == 0
    assert hub.files["index.html"] == (run.stage("app") / "index.html").read_bytes()


def test_somebody_elses_space_is_refused(run, hub):
    hub.create({"README.md": b"mine", "index.html": b"mine"})
    hub.commits += 1
    done = publish(run, f"space:{NAME}", "--yes")
    assert done.exit_code == 2 and "not published by tinsmith" in done.stderr, done.output
    assert hub.files["index.html"] == b"mine" and hub.sent == []


def test_a_card_that_fails_its_check_is_refused(run, hub, tmp_path):
    path = run.stage("card") / "README.md"
    path.write_text(path.read_text() + "\nBest of all.\n")
    for target in (f"space:{NAME}", f"netlify:{tmp_path / 'public'}"):
        done = publish(run, target, "--yes")
        assert done.exit_code == 2 and "card" in done.stderr, done.output
    assert hub.sent == [] and not (tmp_path / "public").exists()


@pytest.mark.parametrize("target", ["ftp:public", "netlify:", "Netlify:public"])
def test_an_unknown_host_is_refused(run, target):
    done = CliRunner().invoke(main, ["publish", str(run.root), "--to", target, "--yes"])
    assert done.exit_code == 2 and f"{target}: no target" in done.stderr and "netlify:FOLDER" in done.stderr


def test_a_folder_may_have_a_colon_in_its_name(tmp_path):
    (tmp_path / "a:b").mkdir()
    for target in (str(tmp_path / "a:b"), "./new:folder", "C:/site"):
        assert split_host(target) == (None, target)
