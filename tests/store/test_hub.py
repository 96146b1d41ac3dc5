"""Files of a repository at one commit, from a hub on this machine."""

import sys

import pytest

from recbole_tslrec.store.hub import HubAddress, HubError, check_can_push, fetch, parse_hub_address, push
from tests.hub import TOKEN

VECTORS = HubAddress("me/vectors", "main", "")


def everything(names):
    return list(names)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf://me/vectors", ("me/vectors", "main", "")),
        ("hf://me/vectors@v1", ("me/vectors", "v1", "")),
        ("hf://me/vectors/deep/table.parquet", ("me/vectors", "main", "deep/table.parquet")),
        ("hf:/me/vectors@v1/table.parquet", ("me/vectors", "v1", "table.parquet")),  # what Path makes of it
    ],
)
def test_an_address_names_repository_revision_and_file(text, parts):
    assert parse_hub_address(text) == parts


@pytest.mark.parametrize("text", ["hf://vectors", "hf://", "hf:///me/vectors", "hf://me/vectors@"])
def test_another_form_is_refused(text):
    with pytest.raises(HubError, match=r"write hf://<owner>/<name>\[@<revision>\]\[/<file>\]"):
        parse_hub_address(text)


def test_what_is_chosen_is_fetched_and_nothing_else(hub):
    commit = hub.commit("me/vectors", {"a": b"1", "b": b"2"})
    folder, names = fetch(VECTORS, lambda names: [name for name in names if name == "b"])
    assert (folder.name, names) == (commit, ["b"])
    assert (folder / "b").read_bytes() == b"2"
    assert not (folder / "a").exists()


def test_a_revision_stays_what_it_was(hub):
    old = hub.commit("me/vectors", {"a": b"1"}, ref="v1")
    hub.commit("me/vectors", {"a": b"2"})
    for revision in ("v1", old):
        folder, _ = fetch(VECTORS._replace(revision=revision), everything)
        assert (folder / "a").read_bytes() == b"1"
    folder, _ = fetch(VECTORS, everything)
    assert (folder / "a").read_bytes() == b"2"


def test_without_a_network_the_cache_serves(hub):
    hub.commit("me/vectors", {"a": b"1"})
    fetched = fetch(VECTORS, everything)
    hub.close()
    assert fetch(VECTORS, everything) == fetched


def test_without_a_network_and_in_an_empty_cache_there_is_one_error(hub):
    hub.close()
    with pytest.raises(HubError, match=r"the hub was not reached .* cache does not have it; go online"):
        fetch(VECTORS, everything)


def test_offline_mode_asks_nobody(hub, monkeypatch):
    from huggingface_hub import constants

    hub.commit("me/vectors", {"a": b"1"})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="the hub was not reached"):
        fetch(VECTORS, everything)
    assert hub.requests == []


def test_what_the_hub_does_not_have_is_named(hub):
    hub.commit("me/vectors", {"a": b"1"})
    with pytest.raises(HubError, match=r"no repository \[me/nothing\], or it is a private one"):
        fetch(VECTORS._replace(repo="me/nothing"), everything)
    with pytest.raises(HubError, match=r"\[me/vectors\] has no revision \[v9\]"):
        fetch(VECTORS._replace(revision="v9"), everything)


def test_a_name_that_none_can_have_is_refused(hub):
    with pytest.raises(HubError, match="cannot be the name of a repository"):
        fetch(VECTORS._replace(repo="me/-vectors-"), everything)


def test_a_push_makes_the_repository_and_one_commit(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_bytes(b"1")
    commit = push(tmp_path / "files", "me/vectors", "first")
    assert hub.written == ["me/vectors"]
    assert hub.refs["me/vectors"]["main"] == commit
    assert hub.files("me/vectors")["a"] == b"1"
    (tmp_path / "files" / "a").write_bytes(b"2")
    push(tmp_path / "files", "me/vectors", "second")  # into the one that is there
    assert hub.files("me/vectors")["a"] == b"2"
    assert hub.written == ["me/vectors"]


def test_without_a_token_nothing_is_asked_of_the_hub(hub):
    with pytest.raises(HubError, match=r"there is no token .* hf auth login, or set HF_TOKEN"):
        check_can_push("me/vectors")
    assert hub.requests == []


def test_a_wrong_token_is_one_error(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    check_can_push("me/vectors")
    with pytest.raises(HubError, match=r"refused \[me/vectors\] \(401\): the token is wrong, or may not write"):
        push(tmp_path, "me/vectors", "first")


@pytest.mark.parametrize("repo", ["vectors", "me/vectors@v1", "me/vectors/file"])
def test_only_a_repository_can_be_pushed_to(hub, monkeypatch, repo):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(HubError, match="<owner>/<name>"):
        check_can_push(repo)


def test_a_missing_library_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'recbole_tslrec\[hub\]'"):
        fetch(VECTORS, everything)
