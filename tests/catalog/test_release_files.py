from harvester.catalog.release import index_files, index_tables


def test_the_files_are_those_that_the_package_names():
    named = {name: table.path for name, table in index_tables().items() if table.path is not None}
    assert index_files() == named
