"""Keyword arguments of the public functions become keys of a configuration."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from harvester.config.keywords import config_from

DAY = pd.Timestamp("2000-01-02")


@pytest.mark.parametrize(
    "value",
    [
        date(2000, 1, 2),
        "2000-01-02",
        DAY,
        [DAY],
        pd.Series([DAY]),
        np.array(["2000-01-02"], dtype="datetime64[D]"),
    ],
)
def test_a_day_of_any_library_is_a_date(value: object) -> None:
    config = config_from(None, {"StudyDate": value, "dataset": "data"})
    assert [str(one) for one in config.select.columns["StudyDate"]] == ["2000-01-02"]
