"""Where IDC's viewer shows a series."""

from typing import Final
from urllib.parse import quote

_VIEWER: Final = "https://viewer.imaging.datacommons.cancer.gov"


def viewer_url(study_instance_uid: str, series_instance_uid: str, modality: str | None) -> str:
    """The address of a series in IDC's viewers, as idc-index makes it: Slim for slides, OHIF for the rest."""
    study, series = quote(study_instance_uid, safe=""), quote(series_instance_uid, safe="")
    if modality in ("SM", "ANN"):
        return f"{_VIEWER}/slim/studies/{study}/series/{series}"
    return f"{_VIEWER}/v3/viewer/?StudyInstanceUIDs={study}&initialSeriesInstanceUID={series}"
