"""Lists of addresses, prefixes, and folders on this machine."""

import os
import tracemalloc

import pytest

from harvester.catalog import open_catalog
from harvester.catalog.grouping import OBJECTS_PER_SERIES
from harvester.config import CrawlConfig
from harvester.engine.plan import in_order
from harvester.errors import ConfigError, SelectionError
from harvester.model import ObjectRef, SeriesTotals


def crawl(**select) -> CrawlConfig:
    return CrawlConfig.model_validate({"dataset": "d", "select": select})


def series_of(config: CrawlConfig):
    with open_catalog(config) as catalog:
        return list(catalog.series())


@pytest.fixture
def urls(tmp_path):
    def write(*lines: str) -> CrawlConfig:
        (tmp_path / "urls.txt").write_text("\n".join(lines))
        return crawl(urls=str(tmp_path / "urls.txt"))

    return write


def test_prefixes_are_series_read_where_they_say():
    series = series_of(crawl(prefixes=["s3://b/two/", "gs://b/one/*", "s3://whole", "s3://b/two/"]))
    assert [one.prefixes for one in series] == [
        (ObjectRef("b", "one/", "gs"),),
        (ObjectRef("b", "two/", "s3"),),
        (ObjectRef("whole", "", "s3"),),
    ]


@pytest.mark.parametrize(
    ("prefixes", "expected"),
    [
        (["s3://b/x/", "s3://b/x/y/"], "s3://b/x/y/ is below s3://b/x/"),
        (["/x"], "'/x' is not s3://BUCKET/PREFIX"),
        (["s3://b/*/x"], "only a closing"),
        (["s3://b:80/x/"], "is not a valid bucket name"),
    ],
)
def test_a_prefix_that_cannot_be_listed_is_refused(prefixes, expected):
    with pytest.raises(ConfigError, match=r"select\.prefixes") as caught:
        open_catalog(crawl(prefixes=prefixes))
    assert expected in str(caught.value)


def test_listed_objects_go_by_folder_and_count_once(urls):
    series = series_of(
        urls(
            "# slides",
            "s3://b/x/2.dcm",
            "gs://b/x/3.dcm",
            "s3://b/x/1.dcm",
            "s3://b/x/2.dcm",
            "https://h/a/b%20c.dcm?v=1",
        )
    )
    assert [[listed.ref.url for listed in one.objects] for one in series] == [
        ["gs://b/x/3.dcm"],
        ["https://h/a/b%20c.dcm?v=1"],
        ["s3://b/x/1.dcm", "s3://b/x/2.dcm"],
    ]
    assert [one.instance_count for one in series] == [1, 1, 2]


def test_the_order_of_a_list_does_not_matter_but_what_it_names_does(urls):
    lines = [f"s3://b/{number % 3}/{number}.dcm" for number in range(20)]
    keys = [one.key for one in series_of(urls(*lines))]
    assert [one.key for one in series_of(urls(*reversed(lines)))] == keys
    assert len(set(keys) & {one.key for one in series_of(urls(*lines, "s3://b/0/new.dcm"))}) == 2


def test_a_folder_of_many_objects_is_several_series(urls):
    count = 2 * OBJECTS_PER_SERIES + 1
    series = series_of(urls(*(f"s3://b/x/{number}.dcm" for number in range(count))))
    assert [one.instance_count for one in series] == [OBJECTS_PER_SERIES, OBJECTS_PER_SERIES, 1]
    assert len({one.key for one in series}) == 3


def test_an_object_in_idcs_bucket_says_its_series(urls):
    uuid = "33592cff-cd96-4b83-a167-fc757a88c9b4"
    idc, other = series_of(urls(f"s3://idc-open-data/{uuid}/x.dcm", f"s3://other/{uuid}/x.dcm"))
    assert (idc.crdc_series_uuid, other.crdc_series_uuid) == (uuid, None)


def test_an_object_under_a_listed_prefix_is_not_read_twice(urls):
    listed = urls("s3://b/x/1.dcm", "s3://b/y/1.dcm").select.urls
    prefix, objects = series_of(crawl(urls=listed, prefixes=["s3://b/x/"]))
    assert prefix.prefixes == (ObjectRef("b", "x/"),)
    assert [one.ref.key for one in objects.objects] == ["y/1.dcm"]


def test_a_path_in_a_list_is_read_from_beside_the_list_or_from_here(urls, tmp_path, monkeypatch):
    (tmp_path / "beside.dcm").touch()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    series = series_of(urls("beside.dcm", "else.dcm", "/abs/x.dcm"))
    assert {listed.ref.key for one in series for listed in one.objects} == {
        str(tmp_path / "beside.dcm"),
        str(here / "else.dcm"),
        "/abs/x.dcm",
    }


@pytest.mark.parametrize("line", ["s3://b/x/*", "s3://b/x/", "ftp://h/x", "s3://b", "s3://b@c/x.dcm", "a\0b"])
def test_a_line_that_is_no_object_is_named(urls, line):
    with pytest.raises(ConfigError, match=r"urls\.txt:2: "):
        open_catalog(urls("s3://b/fine.dcm", line))


def test_a_list_without_objects_selects_nothing(urls):
    with pytest.raises(SelectionError, match="names no object"):
        open_catalog(urls("# none"))


def test_text_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "urls.txt").write_bytes(b"s3://b/x.dcm\n\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"urls\.txt:2: not UTF-8"):
        open_catalog(crawl(urls=str(tmp_path / "urls.txt")))


def test_a_folder_is_walked_folder_by_folder(tmp_path):
    for name in ("b/2.dcm", "b/1.dcm", "a/x/3.dcm", "top.dcm", ".hidden/4.dcm", "a/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path)
    with open_catalog(crawl(root=str(tmp_path))) as catalog:
        series = list(catalog.series())
        assert catalog.summary().total == SeriesTotals(series=3, instances=4, size=20)
        assert list(catalog.series(1)) == series[:1]
    names = [[os.path.relpath(listed.ref.key, tmp_path) for listed in one.objects] for one in series]
    assert names == [["top.dcm"], ["a/x/3.dcm"], ["b/1.dcm", "b/2.dcm"]]
    assert {listed.ref.scheme for one in series for listed in one.objects} == {"file"}


def test_a_folder_that_changed_is_another_series(tmp_path):
    (tmp_path / "1.dcm").write_bytes(b"1")
    (before,) = series_of(crawl(root=str(tmp_path)))
    (tmp_path / "2.dcm").write_bytes(b"2")
    (after,) = series_of(crawl(root=str(tmp_path)))
    assert before.key != after.key


def test_a_name_that_is_no_unicode_is_walked(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.dcm")).touch()
    (series,) = series_of(crawl(root=str(tmp_path)))
    assert os.fsencode(series.objects[0].ref.key).endswith(b"\xff.dcm")


def test_a_root_without_files_selects_nothing(tmp_path):
    with pytest.raises(SelectionError, match="there is no file under"):
        open_catalog(crawl(root=str(tmp_path)))


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SelectionError, match="is not a folder"):
        open_catalog(crawl(root=str(tmp_path / "file")))


def test_series_of_a_list_come_in_the_order_of_a_plan(urls):
    named = urls("s3://b/x/1.dcm", "s3://b/x!/2.dcm", *(f"s3://b/y/{number}.dcm" for number in range(2500)))
    listed = named.model_copy(
        update={"select": named.select.model_copy(update={"prefixes": ("s3://b/z/", "s3://a/")})}
    )
    with open_catalog(listed) as catalog:
        assert catalog.is_ordered
        every = list(catalog.series())
        assert every == in_order(every)
        assert [one.key for one in catalog.series(2)] == ["s3://a/", "s3://b/z/"]
        assert catalog.summary().total == SeriesTotals(7, 2502, 0, uncounted=2)


def test_a_long_list_takes_little_more_memory_than_its_text(urls):
    lines = [f"https://h/{number // 100:08x}/{number:036x}.dcm" for number in range(20_000)]
    config = urls(*lines)
    tracemalloc.start()
    try:
        with open_catalog(config) as catalog:
            held = tracemalloc.get_traced_memory()[0]
            assert sum(len(one.objects) for one in catalog.series()) == 20_000
            highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 100 * 20_000
    assert highest < 300 * 20_000
