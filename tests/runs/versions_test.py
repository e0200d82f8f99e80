"""The commit that a run is recorded with: that of the source tree, and of no other checkout around it."""

import subprocess

import pytest

import rdd_jax
from rdd_jax.runs import versions


def git(folder, *arguments):
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "module.py").write_text("a = 1\n")
    git(tmp_path, "add", "module.py")
    git(tmp_path, "commit", "--quiet", "--message=Add a module")
    return tmp_path


def test_commit_of_a_checkout(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    assert versions.commit(checkout) == commit[:12]
    git(checkout, "tag", "release")
    (checkout / "untracked.txt").write_text("result\n")
    assert versions.commit(checkout) == commit[:12]


def test_changed_source_is_not_the_commit(checkout):
    (checkout / "module.py").write_text("a = 2\n")
    assert versions.commit(checkout) == git(checkout, "rev-parse", "HEAD")[:12] + ".dirty"


def test_a_package_inside_of_another_checkout_is_not_of_its_commit(checkout):
    installed = checkout / "site-packages"
    installed.mkdir()
    assert versions.commit(installed) is None


def test_no_checkout_no_readable_one_and_no_git(tmp_path, checkout, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / ".git").write_text("gitdir: nowhere\n")
    assert versions.commit(tmp_path / "broken") is None
    monkeypatch.setenv("PATH", "")
    assert versions.commit(checkout) is None


def test_versions_name_the_package_and_its_commit(monkeypatch):
    for commit, version in (("abc", f"{rdd_jax.__version__}+abc"), (None, rdd_jax.__version__)):
        monkeypatch.setattr(versions, "commit", lambda source, commit=commit: commit)
        found = versions.versions.__wrapped__()
        assert found["rdd_jax"] == version
        assert {"python", "jax", "numpy"} <= found.keys()
