"""The queries, in SQL over a dataset's views, and over the same headers as JSON texts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One query: `{series}` stands for a series of the dataset; `json` is for the table `headers`."""

    name: str
    sql: str
    json: str


QUESTIONS = (
    Question(
        "how many instances",
        "SELECT count(*) FROM instances",
        "SELECT count(*) FROM headers",
    ),
    Question(
        "thin lung CT of one collection, by series",
        """SELECT PatientID, SeriesInstanceUID, count(*) FROM instances
           WHERE collection_id = 'nlst' AND Modality = 'CT' AND SliceThickness <= 1.25
             AND ConvolutionKernel[1] = 'LUNG' GROUP BY ALL""",
        """SELECT (header->>'PatientID'), (header->>'SeriesInstanceUID'), count(*) FROM headers
           WHERE collection_id = 'nlst' AND (header->>'Modality') = 'CT'
             AND CAST((header->>'SliceThickness') AS DOUBLE) <= 1.25
             AND (header->>'$.ConvolutionKernel[0]') = 'LUNG' GROUP BY ALL""",
    ),
    Question(
        "contrast-enhanced thin lung CT of all collections",
        """SELECT collection_id, PatientID, SeriesInstanceUID, count(*) FROM instances
           WHERE Modality = 'CT' AND SliceThickness <= 1.25 AND list_contains(ConvolutionKernel, 'LUNG')
             AND ContrastBolusAgent IS NOT NULL GROUP BY ALL""",
        """SELECT collection_id, (header->>'PatientID'), (header->>'SeriesInstanceUID'), count(*) FROM headers
           WHERE (header->>'Modality') = 'CT' AND CAST((header->>'SliceThickness') AS DOUBLE) <= 1.25
             AND json_contains(header->'ConvolutionKernel', '"LUNG"')
             AND (header->>'ContrastBolusAgent') IS NOT NULL GROUP BY ALL""",
    ),
    Question(
        "the slices of one series, in order",
        """SELECT SOPInstanceUID, ImagePositionPatient[3] FROM instances
           WHERE SeriesInstanceUID = '{series}' ORDER BY 2, 1""",
        """SELECT (header->>'SOPInstanceUID'), CAST((header->>'$.ImagePositionPatient[2]') AS DOUBLE)
           FROM headers WHERE (header->>'SeriesInstanceUID') = '{series}' ORDER BY 2, 1""",
    ),
    Question(
        "instances and bytes by modality, all rows",
        "SELECT Modality, count(*), sum(instance_size) FROM instances GROUP BY ALL",
        "SELECT (header->>'Modality'), count(*), sum(instance_size) FROM headers GROUP BY ALL",
    ),
    Question(
        "series by collection, modality and maker, all rows",
        """SELECT collection_id, Modality, Manufacturer, count(DISTINCT SeriesInstanceUID)
           FROM instances GROUP BY ALL""",
        """SELECT collection_id, (header->>'Modality'), (header->>'Manufacturer'),
                  count(DISTINCT (header->>'SeriesInstanceUID')) FROM headers GROUP BY ALL""",
    ),
    Question(
        "slides by the organ of their specimen",
        """SELECT SpecimenDescriptionSequence[1].PrimaryAnatomicStructureSequence[1].CodeMeaning, count(*)
           FROM instances WHERE Modality = 'SM' GROUP BY ALL""",
        """SELECT (header->'$.SpecimenDescriptionSequence[0].PrimaryAnatomicStructureSequence[0]'
                  ->>'CodeMeaning'), count(*) FROM headers WHERE (header->>'Modality') = 'SM' GROUP BY ALL""",
    ),
)

# From the middle of the largest partition, so that only statistics can find it.
A_SERIES = """
    SELECT SeriesInstanceUID FROM instances WHERE collection_id = 'nlst' AND Modality = 'CT'
    GROUP BY SeriesInstanceUID ORDER BY SeriesInstanceUID
    LIMIT 1 OFFSET (SELECT count(DISTINCT SeriesInstanceUID) // 2 FROM instances
                    WHERE collection_id = 'nlst' AND Modality = 'CT')"""
