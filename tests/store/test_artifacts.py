"""The store: found by what it was made from, whole or not at all, damage named, rows matched by tokens."""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_tslrec.pipeline import run_stages
from recbole_tslrec.store.artifacts import (
    FORMAT_VERSION,
    UNFINISHED,
    Artifact,
    ArtifactError,
    Recipe,
    Store,
    open_artifact,
    rows_of_tokens,
    write_item_table,
)
from recbole_tslrec.store.files import write_json
from tests.faults.disk import Disk, Killed, fill_up, stop

RECIPE = Recipe({"epochs": 3}, {"groups": "abc"}, {"name": "toy", "fingerprint": "f1"})
ROWS = torch.arange(6.0).reshape(3, 2)


def table(rows: torch.Tensor = ROWS) -> Callable[[Path], None]:
    return lambda folder: write_item_table(folder, ["a", "b", "c"], {"knowledge": rows})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts" / "toy")


@pytest.fixture
def built(store: Store) -> Artifact:
    return store.build("knowledge", RECIPE, table(), seed=7, device="cpu")


def edit_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# build, find, open


def test_what_is_built_is_found_with_its_contents(store: Store, built: Artifact) -> None:
    found = store.find("knowledge", Recipe({"epochs": 3}, {"groups": "abc"}, {"name": "toy", "fingerprint": "f1"}))
    assert found is not None
    assert found.folder == built.folder
    assert found.item_tokens() == ["a", "b", "c"]
    assert torch.equal(found.tensors()["knowledge"], ROWS)


def test_what_was_never_built_is_not_found(store: Store, built: Artifact) -> None:
    assert store.find("groups", RECIPE) is None


def test_opened_by_its_folder_it_is_the_same_artifact(built: Artifact) -> None:
    opened = open_artifact(str(built.folder), "knowledge")
    assert (opened.hash, opened.manifest) == (built.hash, built.manifest)


def test_building_again_replaces_the_contents(store: Store, built: Artifact) -> None:
    store.build("knowledge", RECIPE, table(ROWS + 1))
    found = store.find("knowledge", RECIPE)
    assert found is not None
    assert torch.equal(found.tensors()["knowledge"], ROWS + 1)


def test_building_leaves_one_folder_and_its_lock(store: Store, built: Artifact) -> None:
    store.build("knowledge", RECIPE, table())
    assert {path.name for path in store.root.iterdir()} == {built.folder.name, f"{built.folder.name}.lock"}


@pytest.mark.parametrize(
    "other",
    [
        Recipe({"epochs": 4}, {"groups": "abc"}, {"fingerprint": "f1"}),
        Recipe({"epochs": 3, "seed": 1}, {"groups": "abc"}, {"fingerprint": "f1"}),
        Recipe({"epochs": 3}, {"groups": "abd"}, {"fingerprint": "f1"}),
        Recipe({"epochs": 3}, {}, {"fingerprint": "f1"}),
        Recipe({"epochs": 3}, {"groups": "abc"}, {"fingerprint": "f2"}),
        Recipe({"epochs": 3}, {"groups": "abc"}, {"fingerprint": "f1"}, {"llm": "c1"}),
    ],
    ids=["setting", "new setting", "parent", "no parent", "fingerprint", "contents"],
)
def test_another_recipe_has_another_folder(store: Store, other: Recipe) -> None:
    assert store.folder("knowledge", other) != store.folder("knowledge", RECIPE)


def test_the_place_of_contents_does_not_change_the_folder(store: Store) -> None:
    def folder(path: str, **contents: str) -> Path:
        return store.folder("sft", Recipe({"llm_name_or_path": path}, contents=contents))

    assert folder("llm", llm="abc") == folder("/models/llm", llm="abc") != folder("llm", llm="def")
    assert folder("scratch") != folder("llm")


@pytest.mark.parametrize("version", ["FORMAT_VERSION", "RECIPE_VERSION"])
def test_another_version_has_another_folder(store: Store, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    folder = store.folder("knowledge", RECIPE)
    monkeypatch.setattr(f"recbole_tslrec.store.artifacts.{version}", 99)
    assert store.folder("knowledge", RECIPE) != folder


def test_order_of_settings_does_not_change_the_folder(store: Store) -> None:
    one, two = Recipe({"a": 1, "b": 2}), Recipe({"b": 2, "a": 1})
    assert store.folder("sft", one) == store.folder("sft", two)


def test_hash_is_of_the_contents_not_of_the_recipe(store: Store, built: Artifact) -> None:
    same = store.build("knowledge", Recipe({"epochs": 4}), table(), seed=8)
    other = store.build("knowledge", Recipe({"epochs": 5}), table(ROWS + 1), seed=7)
    assert same.folder != built.folder
    assert same.hash == built.hash
    assert other.hash != built.hash


# the manifest


def test_manifest_says_what_when_with_what_and_how(built: Artifact) -> None:
    manifest = json.loads((built.folder / "manifest.json").read_text())
    assert manifest["kind"] == "knowledge"
    assert manifest["format_version"] == FORMAT_VERSION
    assert manifest["settings"] == {"epochs": 3}
    assert manifest["parents"] == {"groups": "abc"}
    assert manifest["dataset"] == {"name": "toy", "fingerprint": "f1"}
    assert manifest["contents"] == {}
    assert (manifest["seed"], manifest["device"]) == (7, "cpu")
    assert {"python", "recbole_tslrec", "recbole", "torch", "numpy"} <= set(manifest["versions"])
    assert manifest["git_commit"] is None or re.fullmatch("[0-9a-f]{40}", manifest["git_commit"])
    assert manifest["seconds"] >= 0
    assert manifest["threads"] == torch.get_num_threads()
    assert manifest["peak_memory_bytes"] > 1 << 20


def test_what_writing_reports_stands_in_the_manifest_and_decides_no_hash(store: Store, built: Artifact) -> None:
    def write(folder: Path) -> dict[str, float]:
        table()(folder)
        return {"loss": 0.5}

    reported = store.build("knowledge", RECIPE, write)
    assert built.manifest["report"] == {}
    assert reported.manifest["report"] == {"loss": 0.5}
    assert reported.hash == built.hash


def test_manifest_lists_every_file_with_its_sha256(built: Artifact) -> None:
    names = {"item_tokens.json", "data.safetensors"}
    assert {path.name for path in built.folder.iterdir()} == names | {"manifest.json"}
    expected = {name: hashlib.sha256((built.folder / name).read_bytes()).hexdigest() for name in names}
    assert built.manifest["files"] == expected


# damage


def cut_short(folder: Path) -> None:
    path = folder / "data.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def edit_a_file(folder: Path) -> None:
    path = folder / "item_tokens.json"
    path.write_text(path.read_text().replace("a", "x"))


DAMAGES: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "cut short": (cut_short, r"data\.safetensors differs from its hash"),
    "edited": (edit_a_file, r"item_tokens\.json differs from its hash"),
    "removed": (lambda folder: (folder / "data.safetensors").unlink(), r"data\.safetensors is missing"),
    "edited manifest": (lambda folder: edit_manifest(folder, settings={"epochs": 9}), r"manifest\.json was edited"),
    "cut manifest": (lambda folder: (folder / "manifest.json").write_text('{"kind":'), r"manifest\.json is damaged"),
    "foreign manifest": (lambda folder: (folder / "manifest.json").write_text("[1]"), r"manifest\.json is damaged"),
    "missing manifest": (lambda folder: (folder / "manifest.json").unlink(), r"has no manifest\.json"),
    "another format": (lambda folder: edit_manifest(folder, format_version=99), "has artifact format 99"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=list(DAMAGES))
def test_damage_is_one_error_that_names_the_place(
    store: Store, built: Artifact, damage: Callable[[Path], None], message: str
) -> None:
    damage(built.folder)
    with pytest.raises(ArtifactError, match=message) as opened:
        open_artifact(built.folder)
    assert str(built.folder) in str(opened.value)
    assert "\n" not in str(opened.value)
    with pytest.raises(ArtifactError, match=message):
        store.find("knowledge", RECIPE)


def test_another_kind_is_refused(built: Artifact) -> None:
    with pytest.raises(ArtifactError, match=rf"{re.escape(str(built.folder))} holds \[knowledge\], not \[groups\]"):
        open_artifact(built.folder, "groups")


def test_folder_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere is no artifact folder"):
        open_artifact(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder_is_refused_by_name(built: Artifact) -> None:
    with pytest.raises(ArtifactError, match=r"data\.safetensors is no artifact folder"):
        open_artifact(built.folder / "data.safetensors")


def test_damaged_artifact_can_be_built_anew(store: Store, built: Artifact) -> None:
    cut_short(built.folder)
    store.build("knowledge", RECIPE, table())
    assert open_artifact(built.folder).hash == built.hash


# interruptions


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_failed_rebuild_leaves_the_former_artifact(store: Store, built: Artifact, failure: type[BaseException]) -> None:
    def write(folder: Path) -> None:
        table(ROWS + 1)(folder)
        raise failure

    with pytest.raises(failure):
        store.build("knowledge", RECIPE, write)
    found = store.find("knowledge", RECIPE)
    assert found is not None
    assert torch.equal(found.tensors()["knowledge"], ROWS)


def test_failed_first_build_is_not_found_and_can_be_repeated(store: Store) -> None:
    def write(folder: Path) -> None:
        write_json(folder / "half.json", 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build("knowledge", RECIPE, write)
    assert store.find("knowledge", RECIPE) is None
    artifact = store.build("knowledge", RECIPE, table())
    assert set(artifact.manifest["files"]) == {"item_tokens.json", "data.safetensors"}


def test_a_build_goes_on_with_what_an_interrupted_one_left_unfinished_and_nothing_else(store: Store) -> None:
    found = []

    def write(folder: Path) -> None:
        found.append(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))
        write_json(folder / UNFINISHED / "half.json", 1)
        write_json(folder / "whole.json", 1)
        if len(found) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build("sft", RECIPE, write)
    artifact = store.build("sft", RECIPE, write)
    assert found == [[], ["unfinished/half.json"]]
    assert set(artifact.manifest["files"]) == {"whole.json"}
    assert {path.name for path in artifact.folder.iterdir()} == {"manifest.json", "whole.json"}


def killed(store: Store, before: int, act: Callable[[], Any]) -> bool:
    """Whether an act was killed before its change of the disk of this number, from 0."""
    try:
        with Disk(store.root).watched(before, stop):
            act()
    except Killed:
        return True
    return False


def test_who_may_read_new_files_may_read_artifacts(store: Store) -> None:
    former = os.umask(0o027)
    try:
        folder = store.build("knowledge", RECIPE, table()).folder
    finally:
        os.umask(former)
    assert {stat.filemode(path.stat().st_mode) for path in folder.iterdir()} == {"-rw-r-----"}


@pytest.mark.parametrize("again", [False, True], ids=["first", "rebuilt"])
def test_a_build_that_is_killed_before_any_change_of_the_disk_ends_the_same(store: Store, again: bool) -> None:
    """The same command finds the artifact or builds it; all that is left is the artifact and its lock."""

    def write(folder: Path) -> None:
        half = folder / UNFINISHED / "half.json"
        if not half.exists():
            write_json(half, [1, 2])
        table(ROWS + 1)(folder)

    def command() -> None:
        if again or store.find("knowledge", RECIPE) is None:
            store.build("knowledge", RECIPE, write)

    names = {"data.safetensors", "item_tokens.json", "manifest.json"}
    kills = 0
    while True:
        shutil.rmtree(store.root, ignore_errors=True)
        if again:
            store.build("knowledge", RECIPE, table())
        if not killed(store, kills, command):
            break
        kills += 1
        found = store.find("knowledge", RECIPE)
        assert again or found is None or torch.equal(found.tensors()["knowledge"], ROWS + 1)
        command()
        found = store.find("knowledge", RECIPE)
        assert found is not None
        assert torch.equal(found.tensors()["knowledge"], ROWS + 1)
        assert {path.name for path in store.root.iterdir()} == {found.folder.name, f"{found.folder.name}.lock"}
        assert {path.name for path in found.folder.iterdir()} == names
    assert kills > 20


def test_a_former_artifact_is_back_where_replacing_it_was_killed(store: Store, built: Artifact) -> None:
    """Between the two renames; before and after them the folder itself is whole."""
    kills = moved = 0
    while killed(store, kills, lambda: store.build("knowledge", RECIPE, table(ROWS + 1))):
        kills += 1
        moved += not built.folder.exists()
        found = store.find("knowledge", RECIPE)
        assert found is not None
        assert torch.equal(found.tensors()["knowledge"], ROWS) or torch.equal(found.tensors()["knowledge"], ROWS + 1)
    assert moved == 1


def test_a_build_beside_that_of_a_machine_that_no_lock_reaches_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", lambda *_: None)

    def write(folder: Path) -> None:
        Store(store.root).build("knowledge", RECIPE, table())  # what the other machine does meanwhile

    with pytest.raises(OSError, match="do not reach other machines"):
        store.build("knowledge", RECIPE, write)
    found = store.find("knowledge", RECIPE)
    assert found is not None
    assert torch.equal(found.tensors()["knowledge"], ROWS)


def test_a_full_disk_names_the_folder_and_what_to_do(store: Store) -> None:
    message = r"no room for .*knowledge-\w+ on its disk; free some, then run the same command"
    with Disk(store.root).watched(8, fill_up), pytest.raises(OSError, match=message):
        store.build("knowledge", RECIPE, table())


def test_a_former_folder_that_was_half_deleted_is_no_artifact(store: Store, built: Artifact) -> None:
    half = Path(f"{built.folder}.discarded")
    built.folder.rename(half)
    (half / "manifest.json").unlink()
    assert store.find("knowledge", RECIPE) is None
    assert not half.exists()


# rows by tokens


def test_rows_are_matched_by_token() -> None:
    assert rows_of_tokens(["a", "b", "c"], ["c", "a"], "table").tolist() == [2, 0]


def test_missing_tokens_are_counted_and_the_first_is_named() -> None:
    with pytest.raises(ArtifactError, match=r"table lacks 2 of the dataset's 3 items, the first is 'x'"):
        rows_of_tokens(["a", "b"], ["x", "a", "y"], "table")


# a whole build


def test_whole_build_leaves_nothing_to_unpickle(make_config: Callable[..., Any]) -> None:
    interactions = [(f"u{user}", f"i{(user + step) % 12}", float(step)) for user in range(12) for step in range(5)]
    run = run_stages(make_config("TSLRecSASRec", interactions))
    folders = {name: artifact.folder for name, artifact in {**run.artifacts, **run.evaluations}.items()}
    assert {"backbone", "sft", "knowledge", "recommender", "TSLRec"} <= set(folders)
    for folder in folders.values():
        suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
        assert suffixes <= {".safetensors", ".json", ".parquet"}, folder
