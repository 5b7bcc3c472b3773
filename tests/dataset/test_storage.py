from pathlib import Path

import pytest

from harvester.dataset.directory import LocalStorage
from harvester.errors import DatasetError

MARKS = "_harvest/marks.parquet"
PART = f"failures/{'a' * 16}.{'b' * 16}.0.parquet"


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path.resolve())


def files(storage: LocalStorage) -> list[str]:
    return sorted(str(path.relative_to(storage.root)) for path in storage.root.rglob("*") if path.is_file())


def test_a_file_appears_when_it_is_whole(storage: LocalStorage) -> None:
    with storage.write(PART) as stream:
        stream.write(b"half")
        assert not storage.exists(PART)
        assert not list(storage.root.glob("**/*.parquet"))
        stream.write(b" and half")
    assert storage.read(PART) == b"half and half"
    assert files(storage) == [PART]


def test_after_an_error_nothing_has_changed(storage: LocalStorage) -> None:
    with storage.write(MARKS) as stream:
        stream.write(b"old")
    with pytest.raises(ValueError, match="invalid literal"), storage.write(MARKS) as stream:
        stream.writelines([b"new", bytes(int("none"))])
    assert storage.read(MARKS) == b"old"
    assert files(storage) == [MARKS]


def test_what_cannot_be_written_read_or_deleted_names_its_file(storage: LocalStorage) -> None:
    (storage.root / MARKS / "inner").mkdir(parents=True)
    with pytest.raises(DatasetError, match="parquet: cannot be written"), storage.write(MARKS) as stream:
        stream.write(b"x")
    with pytest.raises(DatasetError, match="missing: cannot be read"):
        storage.read("missing")
    with pytest.raises(DatasetError, match="parquet: cannot be deleted"):
        storage.delete(MARKS)
    assert files(storage) == []


def test_deleting_what_is_gone_is_no_error(storage: LocalStorage) -> None:
    storage.delete(MARKS)


def test_a_missing_folder_has_no_files(storage: LocalStorage) -> None:
    assert list(storage.list_files("instances")) == []


def test_a_listing_follows_no_symbolic_link(
    storage: LocalStorage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "file").write_bytes(b"")
    (storage.root / "a").mkdir()
    (storage.root / "a" / "own").write_bytes(b"")
    (storage.root / "a" / "file").symlink_to(outside / "file")
    (storage.root / "a" / "folder").symlink_to(outside)
    (storage.root / "linked").symlink_to(outside)
    assert list(storage.list_files("a")) == ["a/own"]
    assert list(storage.list_files("linked")) == []
