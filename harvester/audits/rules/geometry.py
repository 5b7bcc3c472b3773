"""The rule that the planes of a series form a regular volume, by the definition of IDC."""

from collections.abc import Mapping
from typing import ClassVar, Final

from harvester.audits.rules.base import QueryRule, Unit, joined
from harvester.audits.vocabulary import Severity
from harvester.catalog.database import literal
from harvester.query import index_query

_CLASSES: Final = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128")
# Each check of the definition: its message, and its condition here.
_CHECKS: Final = {
    "single_orientation": ("several orientations", "one_orientation"),
    "orthogonal_orientation": (
        "rows and columns are not orthogonal",
        "least_normal BETWEEN 0.99 AND 1.01 AND most_normal BETWEEN 0.99 AND 1.01",
    ),
    "unique_slice_positions": ("two planes at one position", "list_unique(places) = list_unique(instances)"),
    "consistent_in_plane_row": ("planes shifted along the rows", "row_shift < 0.1"),
    "consistent_in_plane_col": ("planes shifted along the columns", "column_shift < 0.1"),
    "consistent_pixel_spacing": ("several pixel spacings", "one_spacing"),
    "consistent_image_dimensions": ("several image sizes", "one_size"),
    "uniform_slice_spacing": ("planes not equally far apart", "unevenness < 0.01 * abs(spacing)"),
}
_TOO_FEW: Final = "fewer than two planes with a position"

# One row per series, by one grouping; IDC's query joins and sorts all instances. Distances are those of the
# first voxel of each plane along the normal, the rows and the columns.
_MEASURED: Final = """
    SELECT *, (places[-1] - places[1]) / nullif(n - 1, 0) AS spacing,
           list_max(list_transform(range(1, len(places)), lambda i:
               abs(places[i + 1] - places[i] - (places[-1] - places[1]) / (n - 1)))) AS unevenness
    FROM (
        SELECT SeriesInstanceUID, count(*) AS n,
               list_sort(list(position) FILTER (position IS NOT NULL)) AS places,
               list(instance) AS instances,
               min(orientation) = max(orientation) AS one_orientation,
               min(spacing) = max(spacing) AS one_spacing, min(size) = max(size) AS one_size,
               min(normal) AS least_normal, max(normal) AS most_normal,
               max(along_row) - min(along_row) AS row_shift,
               max(along_column) - min(along_column) AS column_shift
        FROM (
            SELECT * EXCLUDE (p, o, nx, ny, nz), hash(o) AS orientation,
                   sqrt(nx * nx + ny * ny + nz * nz) AS normal, p[1] * nx + p[2] * ny + p[3] * nz AS position,
                   p[1] * o[1] + p[2] * o[2] + p[3] * o[3] AS along_row,
                   p[1] * o[4] + p[2] * o[5] + p[3] * o[6] AS along_column
            FROM (
                SELECT *, o[2] * o[6] - o[3] * o[5] AS nx, o[3] * o[4] - o[1] * o[6] AS ny,
                       o[1] * o[5] - o[2] * o[4] AS nz
                FROM (
                    SELECT SeriesInstanceUID, ImagePositionPatient AS p, ImageOrientationPatient AS o,
                           hash(PixelSpacing) AS spacing, hash("Rows", "Columns") AS size,
                           hash(SOPInstanceUID) AS instance
                    FROM instances
                    WHERE {scope} AND SeriesInstanceUID IS NOT NULL
                      AND SeriesInstanceUID NOT IN ({excluded}))))
        GROUP BY SeriesInstanceUID)"""

# Where rounding or duplicate instances could make a difference, IDC's own query decides.
_DOUBTFUL: Final = """
    list_unique(instances) <> n OR len(places) <> n
    OR abs(least_normal - 0.99) < 1e-6 OR abs(most_normal - 1.01) < 1e-6
    OR abs(row_shift - 0.1) < 1e-6 OR abs(column_shift - 0.1) < 1e-6
    OR (spacing <> 0 AND abs(unevenness - 0.01 * abs(spacing)) <= 1e-4 * abs(spacing))"""

_EXCLUDED: Final = (
    "COALESCE(list_contains(ImageType, 'LOCALIZER') OR array_to_string(ImageType, '|') LIKE '%MIP%', false)"
)


class RegularVolume(QueryRule):
    """A CT, MR or PET series is a regular volume, by the definition of IDC (`volume_geometry_index`).

    One orientation, pixel spacing and image size; planes aligned, at different positions and equally
    spaced. Series with a localizer or a projection (MIP) are excluded by the definition and not checked.
    `harvester index volume_geometry_index` returns the checks of each series.
    """

    kind: ClassVar[str] = "regular_volume"
    unit: ClassVar[Unit] = "series"
    columns: ClassVar[tuple[str, ...]] = ("spacing", "unevenness")

    severity: Severity = "warning"

    def query(self) -> str:
        """The series that fail a check."""
        checks = ", ".join(f"{check} AS {name}" for name, (_text, check) in _CHECKS.items())
        broken = [(f"{name} IS FALSE", literal(text)) for name, (text, _check) in _CHECKS.items()]
        problem = joined([*broken, ("uniform_slice_spacing IS NULL", literal(_TOO_FEW))])
        names = ", ".join(_CHECKS)
        return f"""
            WITH measured AS MATERIALIZED (
                SELECT SeriesInstanceUID, n, spacing, unevenness,
                       COALESCE({_DOUBTFUL}, false) AS doubtful, {checks}
                FROM ({_MEASURED.format(scope=self.scope(), excluded=self._excluded())})),
            dicom_all AS (
                SELECT SeriesInstanceUID, SOPInstanceUID, Modality, SOPClassUID, ImagePositionPatient,
                       ImageOrientationPatient, PixelSpacing, "Rows", "Columns", ImageType
                FROM instances
                WHERE {self.parameter_condition()}
                  AND SeriesInstanceUID IN (SELECT SeriesInstanceUID FROM measured WHERE doubtful)),
            judged AS (
                SELECT SeriesInstanceUID, {names} FROM measured WHERE NOT doubtful
                UNION ALL BY NAME
                SELECT SeriesInstanceUID, {names} FROM ({index_query("volume_geometry_index")}) AS geometry)
            SELECT SeriesInstanceUID AS subject, problem, SeriesInstanceUID, collection_id, Modality,
                   instance_url, n AS instances,
                   CAST(to_json({{spacing: spacing, unevenness: unevenness}}) AS VARCHAR) AS shown
            FROM (SELECT SeriesInstanceUID, {problem} AS problem FROM judged) AS judged_series
            JOIN measured USING (SeriesInstanceUID)
            JOIN (SELECT SeriesInstanceUID, min(collection_id) AS collection_id, min(Modality) AS Modality,
                         min(instance_url) AS instance_url
                  FROM ({self.alike()}) GROUP BY SeriesInstanceUID) AS series USING (SeriesInstanceUID)
            WHERE problem IS NOT NULL"""

    def rule_condition(self) -> str:
        """The SOP classes of the definition."""
        return f"SOPClassUID IN ({', '.join(map(literal, _CLASSES))})"

    def shared_values(self) -> Mapping[str, str]:
        """Whether the definition excludes the series of an instance, whatever SOP class that has."""
        return {"excluded": _EXCLUDED}

    def _excluded(self) -> str:
        """The series with a localizer or a projection."""
        return f"""SELECT SeriesInstanceUID FROM ({self.alike(self.parameter_condition())})
                   WHERE excluded AND SeriesInstanceUID IS NOT NULL"""

    def checked(self) -> str:
        """The series that the definition covers."""
        return f"""SELECT count(DISTINCT SeriesInstanceUID) FROM ({self.alike()})
                   WHERE SeriesInstanceUID NOT IN ({self._excluded()})"""
