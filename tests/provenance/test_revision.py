"""The project's git repository: the right one, or an error that names the remedy."""

from collections.abc import Iterator
from pathlib import Path

import git
import psutil
import pytest

from image_classifier import paths
from image_classifier.errors import InputError
from image_classifier.provenance.revision import (
    Revision,
    checked_out,
    committed_revision,
    open_repository,
    workspace_revision,
)


def make_repository(folder: Path, commits: int = 1) -> git.Repo:
    """Return a new repository whose commits change params.yaml."""
    repository = git.Repo.init(folder)
    author = git.Actor("test", "test@localhost")
    for number in range(commits):
        (folder / "params.yaml").write_text(f"{folder.name}: {number}\n")
        repository.index.add(["params.yaml"])
        repository.index.commit(str(number), author=author, committer=author)
    return repository


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[git.Repo]:
    """The repository of a project with one commit."""
    monkeypatch.setattr(paths, "ROOT", tmp_path / "project")
    with make_repository(paths.ROOT) as repository:
        yield repository


def test_a_folder_without_git_has_no_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert workspace_revision([]) == Revision()


def test_a_checkout_without_git_is_refused_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    with (
        pytest.raises(InputError, match=r"is not a git repository, .* commit 0123456789\. .* git clone"),
        checked_out("0123456789abcdef"),
    ):
        pass


@pytest.mark.usefixtures("repository")
def test_a_repository_of_another_user_is_refused_with_the_remedy_of_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "true")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "true")
    remedy = f"git config --global --add safe.directory {paths.ROOT}"
    with pytest.raises(InputError, match=rf"^git cannot read {paths.ROOT}: .*dubious ownership[^\n]*{remedy}$"):
        workspace_revision([])


@pytest.mark.usefixtures("repository")
def test_a_missing_program_is_not_a_missing_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^git cannot read .*: [^\n]*'git'[^\n]*$"):
        workspace_revision([])


@pytest.mark.usefixtures("repository")
def test_a_damaged_repository_is_not_a_missing_one() -> None:
    (paths.ROOT / ".git/HEAD").unlink()
    with pytest.raises(InputError, match=r"^git cannot read "):
        workspace_revision([])


@pytest.mark.parametrize(
    ("variable", "path"), [("GIT_DIR", ".git"), ("GIT_WORK_TREE", "."), ("GIT_INDEX_FILE", ".git/index")]
)
def test_a_repository_that_the_environment_names_is_not_used(
    repository: git.Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, path: str
) -> None:
    commit = repository.head.commit.hexsha
    with make_repository(tmp_path / "other", commits=2) as other:
        assert other.head.commit.hexsha != commit
    monkeypatch.setenv(variable, str(tmp_path / "other" / path))
    assert workspace_revision([]) == Revision(commit)
    assert committed_revision(commit) == Revision(commit)


def test_reading_the_revision_leaves_no_process_of_git(repository: git.Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.close()  # ends the processes of its commit
    monkeypatch.setattr("image_classifier.provenance.revision.open_repository", lambda: repository)
    processes = psutil.Process().children()
    workspace_revision([])
    assert psutil.Process().children() == processes


@pytest.mark.usefixtures("repository")
def test_settings_of_git_in_the_environment_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COUNT": "1", "KEY_0": "user.name", "VALUE_0": "somebody"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    found = open_repository()
    assert found
    assert found.git.config("user.name") == "somebody"


def test_a_commit_that_a_shallow_clone_lacks_is_fetched_with_unshallow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_repository(tmp_path / "origin", commits=2) as origin:
        first = origin.commit("HEAD~1").hexsha
    monkeypatch.setattr(paths, "ROOT", tmp_path / "clone")
    git.Repo.clone_from((tmp_path / "origin").as_uri(), paths.ROOT, depth=1)
    with pytest.raises(InputError, match=rf"commit {first} .* Try: git fetch --unshallow$"), checked_out(first):
        pass


@pytest.mark.usefixtures("repository")
def test_a_commit_that_a_complete_clone_lacks_is_fetched() -> None:
    with pytest.raises(InputError, match=r"Try: git fetch --all$"), checked_out("f" * 40):
        pass


def test_a_clone_with_another_line_end_has_the_same_bytes(repository: git.Repo, tmp_path: Path) -> None:
    (paths.ROOT / "data/published").mkdir(parents=True)
    files = {
        "conf.yaml": b"a: 1\nb: 2\n",
        "data/published/mnist.csv": b"a,b\r\n1,2\r\n",
        "plot.png": b"\x89PNG\r\n\n",
    }
    attributes = Path(__file__).parents[2] / ".gitattributes"
    for name, content in {**files, ".gitattributes": attributes.read_bytes()}.items():
        (paths.ROOT / name).write_bytes(content)
        repository.git.add(name)
    author = git.Actor("test", "test@localhost")
    repository.index.commit("files", author=author, committer=author)
    clone = tmp_path / "clone"
    git.Repo.clone_from(
        str(paths.ROOT), clone, multi_options=["--config core.autocrlf=true"], allow_unsafe_options=True
    )
    assert {name: (clone / name).read_bytes() for name in files} == files
