"""Queries as IDC's users write them for BigQuery, asked of real files, answered as plain Python does."""

import math
from collections import Counter, defaultdict
from typing import Any

from index_truth import at, distinct, first, items

SEG = "1.2.840.10008.5.1.4.1.1.66.4"


def of(corpus: Any, modality: str) -> list[dict[str, Any]]:
    return [header for header in corpus.headers if header["Modality"] == modality]


def grouped(pairs: Any) -> dict[Any, list[Any]]:
    groups = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return groups


def test_cohorts_are_counted_by_collection_and_modality(corpus: Any) -> None:
    sql = """
    # How much is there of each modality in each collection?
    SELECT
      collection_id,
      Modality,
      COUNT(DISTINCT PatientID) AS patients,
      COUNT(DISTINCT(SeriesInstanceUID)) AS series,
      COUNT(SOPInstanceUID) AS num_instances,
      ROUND(SUM(SAFE_CAST(instance_size AS FLOAT64)) / POW(1000, 2), 3) AS megabytes,
    FROM `bigquery-public-data.idc_current.dicom_all`
    WHERE collection_id NOT LIKE "%deb" AND Modality IS NOT NULL AND access = "Public"
    GROUP BY collection_id, Modality
    HAVING num_instances > 2
    ORDER BY num_instances DESC, collection_id, Modality
    """
    rows = corpus.ask(sql, "bigquery")
    groups = grouped(
        ((h["collection_id"], h["Modality"]), h)
        for h in corpus.headers
        if h["Modality"] and not h["collection_id"].endswith("deb")
    )
    expected = [
        {
            "collection_id": collection,
            "Modality": modality,
            "patients": len(distinct(h.get("PatientID") for h in found)),
            "series": len(distinct(h.get("SeriesInstanceUID") for h in found)),
            "num_instances": sum(h.get("SOPInstanceUID") is not None for h in found),
            "megabytes": round(sum(h["instance_size"] for h in found) / 1e6, 3),
        }
        for (collection, modality), found in groups.items()
    ]
    expected = [row for row in expected if row["num_instances"] > 2]
    expected.sort(key=lambda row: (-row["num_instances"], row["collection_id"], row["Modality"]))
    assert len(expected) > 5
    assert rows == expected


def test_thin_slices_are_selected_by_thickness_and_kernel(corpus: Any) -> None:
    sql = """
    SELECT DISTINCT SeriesInstanceUID, ARRAY_TO_STRING(ConvolutionKernel, "/") AS kernel,
      SAFE_CAST(SliceThickness AS FLOAT64) AS thickness
    FROM `bigquery-public-data.idc_v18.dicom_all`
    WHERE Modality = "CT"
      AND SliceThickness <> "" AND SAFE_CAST(SliceThickness AS NUMERIC) <= 5
      AND ("STANDARD" IN UNNEST(ConvolutionKernel)
        OR REGEXP_CONTAINS(ConvolutionKernel[SAFE_OFFSET(0)], r'^[BH]\\d+'))
    """
    expected = {
        (h.get("SeriesInstanceUID"), "/".join(kernel), h["SliceThickness"])
        for h in of(corpus, "CT")
        for kernel in (h.get("ConvolutionKernel") or [],)
        if (h.get("SliceThickness") or math.inf) <= 5
        and ("STANDARD" in kernel or (kernel and kernel[0][:1] in "BH" and kernel[0][1:2].isdigit()))
    }
    assert expected
    rows = corpus.ask(sql, "bigquery")
    assert {(row["SeriesInstanceUID"], row["kernel"], row["thickness"]) for row in rows} == expected
    assert len(rows) == len(expected)


def test_slides_are_found_by_the_steps_of_their_preparation(corpus: Any) -> None:
    sql = """
    WITH specimen_preparation_sequence_items AS (
      SELECT DISTINCT
        SeriesInstanceUID AS digital_slide_id,
        steps_unnested2.ConceptNameCodeSequence[SAFE_OFFSET(0)].CodeMeaning AS item_name,
        steps_unnested2.ConceptCodeSequence[SAFE_OFFSET(0)].CodeMeaning AS item_value
      FROM bigquery-public-data.idc_v11.dicom_all
      CROSS JOIN
        UNNEST(SpecimenDescriptionSequence[SAFE_OFFSET(0)].SpecimenPreparationSequence) AS steps_unnested1
      CROSS JOIN UNNEST(steps_unnested1.SpecimenPreparationStepContentItemSequence) AS steps_unnested2
    )
    SELECT item_name, ARRAY_AGG(DISTINCT item_value IGNORE NULLS ORDER BY item_value) AS item_values
    FROM specimen_preparation_sequence_items AS specimen
    WHERE EXISTS (
      SELECT 1 FROM `bigquery-public-data.idc_v11.dicom_all` AS dicom
      WHERE dicom.SeriesInstanceUID = specimen.digital_slide_id AND dicom.Modality = 'SM')
    GROUP BY 1
    """
    values = defaultdict(set)
    for header in of(corpus, "SM"):
        specimen = first(header, "SpecimenDescriptionSequence")
        for item in items(
            specimen, "SpecimenPreparationSequence", "SpecimenPreparationStepContentItemSequence"
        ):
            name = first(item, "ConceptNameCodeSequence").get("CodeMeaning")
            values[name].add(first(item, "ConceptCodeSequence").get("CodeMeaning"))
    rows = corpus.ask(sql, "bigquery")
    assert {row["item_name"]: row["item_values"] or [] for row in rows} == {
        name: distinct(found) for name, found in values.items()
    }
    assert any("eosin" in value for row in rows for value in row["item_values"] or [])


def test_segmented_property_types_are_listed_with_their_algorithms(corpus: Any) -> None:
    sql = """
    WITH seg_only AS (
      SELECT SOPInstanceUID, SegmentSequence, ARRAY_LENGTH(SegmentSequence) AS n
      FROM `bigquery-public-data.idc_current.dicom_all`
      WHERE Modality = "SEG" AND SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4")
    SELECT
      segment.SegmentedPropertyTypeCodeSequence[SAFE_OFFSET(0)].CodeMeaning AS property_type,
      STRING_AGG(DISTINCT segment.SegmentAlgorithmType, ", " ORDER BY segment.SegmentAlgorithmType)
        AS algorithms,
      ARRAY_AGG(DISTINCT segment.SegmentLabel IGNORE NULLS ORDER BY segment.SegmentLabel LIMIT 2) AS labels,
      COUNT(*) AS segments, MAX(n) AS most_segments,
      COUNTIF(segment.TrackingUID IS NOT NULL) AS tracked
    FROM seg_only, UNNEST(SegmentSequence) AS segment
    GROUP BY property_type
    """
    found = grouped(
        (first(s, "SegmentedPropertyTypeCodeSequence").get("CodeMeaning"), (s, len(h["SegmentSequence"])))
        for h in of(corpus, "SEG")
        if h.get("SOPClassUID") == SEG
        for s in items(h, "SegmentSequence")
    )
    expected = {
        name: {
            "property_type": name,
            "algorithms": ", ".join(distinct(s.get("SegmentAlgorithmType") for s, _ in segments)) or None,
            "labels": distinct(s.get("SegmentLabel") for s, _ in segments)[:2] or None,
            "segments": len(segments),
            "most_segments": max(n for _, n in segments),
            "tracked": sum(s.get("TrackingUID") is not None for s, _ in segments),
        }
        for name, segments in found.items()
    }
    assert len(expected) > 1
    assert {row["property_type"]: row for row in corpus.ask(sql, "bigquery")} == expected


def test_pixel_measures_of_segmentations_are_read_frame_by_frame(corpus: Any) -> None:
    sql = """
    SELECT
      SOPInstanceUID, crdc_instance_uuid, frame_number,
      CAST(plane.ImagePositionPatient[SAFE_OFFSET(2)] AS FLOAT64) AS z,
      COALESCE(
        SAFE_CAST(frame.PixelMeasuresSequence[SAFE_OFFSET(0)].PixelSpacing[SAFE_OFFSET(0)] AS FLOAT64),
        SAFE_CAST(SharedFunctionalGroupsSequence[SAFE_OFFSET(0)].PixelMeasuresSequence[SAFE_OFFSET(0)]
          .PixelSpacing[SAFE_OFFSET(0)] AS FLOAT64)) AS spacing
    FROM `bigquery-public-data.idc_v23.dicom_all` AS seg
    CROSS JOIN UNNEST(seg.PerFrameFunctionalGroupsSequence) AS frame WITH OFFSET AS frame_number
    LEFT JOIN UNNEST(frame.PlanePositionSequence) AS plane
    WHERE Modality = "SEG" AND frame_number < 3
    """
    expected = Counter(
        (
            h["crdc_instance_uuid"],
            number,
            at(plane.get("ImagePositionPatient"), 2),
            at(first(frame, "PixelMeasuresSequence").get("PixelSpacing"), 0)
            or at(first(h, "SharedFunctionalGroupsSequence", "PixelMeasuresSequence").get("PixelSpacing"), 0),
        )
        for h in of(corpus, "SEG")
        for number, frame in enumerate(items(h, "PerFrameFunctionalGroupsSequence")[:3])
        for plane in items(frame, "PlanePositionSequence") or [{}]
    )
    rows = corpus.ask(sql, "bigquery")
    assert len(expected) > 10
    assert (
        Counter((r["crdc_instance_uuid"], r["frame_number"], r["z"], r["spacing"]) for r in rows) == expected
    )


def test_the_finest_layer_of_each_slide_is_found(corpus: Any) -> None:
    sql = """
    SELECT SeriesInstanceUID, crdc_instance_uuid, TotalPixelMatrixColumns AS width,
      FORMAT("%.4f x %d", SAFE_CAST(measures.PixelSpacing[OFFSET(0)] AS FLOAT64), frames) AS summary,
      CASE WHEN TransferSyntaxUID IN ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91") THEN "lossy"
           ELSE "other" END AS compression
    FROM (
      SELECT *, CAST(NumberOfFrames AS INT) AS frames,
        SharedFunctionalGroupsSequence[SAFE_OFFSET(0)].PixelMeasuresSequence[SAFE_OFFSET(0)] AS measures
      FROM `bigquery-public-data.idc_current.dicom_all`
      WHERE Modality = "SM" AND "VOLUME" IN UNNEST(ImageType))
    WHERE ARRAY_LENGTH(measures.PixelSpacing) = 2 AND frames > 0
    QUALIFY ROW_NUMBER() OVER (
      PARTITION BY SeriesInstanceUID ORDER BY TotalPixelMatrixColumns DESC, crdc_instance_uuid) = 1
    """
    layers = grouped(
        (h["SeriesInstanceUID"], (h, spacing))
        for h in of(corpus, "SM")
        if "VOLUME" in (h.get("ImageType") or []) and (h.get("NumberOfFrames") or 0) > 0
        for spacing in (
            first(h, "SharedFunctionalGroupsSequence", "PixelMeasuresSequence").get("PixelSpacing") or [],
        )
        if len(spacing) == 2
    )
    expected = {}
    for uid, found in layers.items():
        h, spacing = min(
            found,
            key=lambda one: (-(one[0].get("TotalPixelMatrixColumns") or 0), one[0]["crdc_instance_uuid"]),
        )
        lossy = h["TransferSyntaxUID"].endswith((".4.50", ".4.91"))
        expected[uid] = {
            "SeriesInstanceUID": uid,
            "crdc_instance_uuid": h["crdc_instance_uuid"],
            "width": h.get("TotalPixelMatrixColumns"),
            "summary": f"{spacing[0]:.4f} x {h['NumberOfFrames']}",
            "compression": "lossy" if lossy else "other",
        }
    assert len(expected) > 3
    assert {row["SeriesInstanceUID"]: row for row in corpus.ask(sql, "bigquery")} == expected


def test_a_manifest_is_made_of_addresses(corpus: Any) -> None:
    sql = """
    SELECT CONCAT("cp ", REPLACE(gcs_url, "gs://", "s3://"), " .") AS command,
      SPLIT(aws_url, "/")[SAFE_OFFSET(2)] AS bucket, REGEXP_EXTRACT(gcs_url, r"/([^/]+)\\.dcm$") AS name,
      series_aws_url, aws_bucket
    FROM bigquery-public-data.idc_current.dicom_all
    WHERE collection_id = "pydicom_data" ORDER BY gcs_url LIMIT 5
    """
    urls = sorted(h["instance_url"] for h in corpus.headers if h["collection_id"] == "pydicom_data")[:5]
    assert corpus.ask(sql, "bigquery") == [
        {
            "command": f"cp {url} .",
            "bucket": "idc-open-data",
            "name": url.rpartition("/")[2].removesuffix(".dcm"),
            "series_aws_url": url.rpartition("/")[0] + "/",
            "aws_bucket": "idc-open-data",
        }
        for url in urls
    ]


def test_regions_of_interest_are_joined_to_what_was_observed(corpus: Any) -> None:
    sql = """
    WITH rois AS (
      SELECT SOPInstanceUID, roi.ROINumber, TRIM(roi.ROIName, " ") AS ROIName
      FROM `bigquery-public-data.idc_current.dicom_all` d, d.StructureSetROISequence AS roi
      WHERE Modality = "RTSTRUCT")
    SELECT ROIName, COUNT(DISTINCT rois.SOPInstanceUID) AS structure_sets,
      ANY_VALUE(IFNULL(observation.RTROIInterpretedType, "none")) AS kind
    FROM rois
    JOIN `bigquery-public-data.idc_current.dicom_all` AS dicom USING (SOPInstanceUID)
    LEFT JOIN UNNEST(dicom.RTROIObservationsSequence) AS observation
      ON observation.ReferencedROINumber = rois.ROINumber
    GROUP BY ROIName
    """
    found = defaultdict(lambda: (set(), set()))
    for h in of(corpus, "RTSTRUCT"):
        for roi in items(h, "StructureSetROISequence"):
            if roi.get("ROINumber") is None or h.get("SOPInstanceUID") is None:
                continue
            instances, kinds = found[roi.get("ROIName")]
            instances.add(h["SOPInstanceUID"])
            observed = [
                o.get("RTROIInterpretedType") or "none"
                for o in items(h, "RTROIObservationsSequence")
                if o.get("ReferencedROINumber") == roi["ROINumber"]
            ]
            kinds |= set(observed or ["none"])
    rows = {row["ROIName"]: row for row in corpus.ask(sql, "bigquery")}
    assert len(found) > 3
    assert {name: row["structure_sets"] for name, row in rows.items()} == {
        name: len(instances) for name, (instances, _) in found.items()
    }
    assert all(rows[name]["kind"] in kinds for name, (_, kinds) in found.items())


def test_content_items_of_structured_reports_are_counted(corpus: Any) -> None:
    sql = """
    SELECT item.ValueType, item.ConceptNameCodeSequence[SAFE_OFFSET(0)].CodeMeaning AS concept,
      COUNT(DISTINCT sr.SOPInstanceUID) AS reports, COUNT(*) AS items,
      LOGICAL_OR(ARRAY_LENGTH(item.ContentSequence) > 0) AS has_children
    FROM `bigquery-public-data.idc_current.dicom_metadata` AS sr, UNNEST(ContentSequence) AS item
    WHERE sr.SOPClassUID LIKE "1.2.840.10008.5.1.4.1.1.88.%"
    GROUP BY 1, 2 HAVING COUNT(*) >= 1
    """
    found = grouped(
        ((item.get("ValueType"), first(item, "ConceptNameCodeSequence").get("CodeMeaning")), (h, item))
        for h in corpus.headers
        if (h.get("SOPClassUID") or "").startswith("1.2.840.10008.5.1.4.1.1.88.")
        for item in items(h, "ContentSequence")
    )
    expected = {
        key: (
            len({h["SOPInstanceUID"] for h, _ in group}),
            len(group),
            any(item.get("ContentSequence") for _, item in group),
        )
        for key, group in found.items()
    }
    rows = corpus.ask(sql, "bigquery")
    assert len(expected) > 5
    assert {
        (row["ValueType"], row["concept"]): (row["reports"], row["items"], row["has_children"])
        for row in rows
    } == expected


def test_a_script_finds_series_with_several_slices_at_one_position(corpus: Any) -> None:
    sql = """
    #standardSQL
    DECLARE least_slices INT64 DEFAULT 1;  # of a series
    DECLARE modalities ARRAY<STRING>;
    SET modalities = ['MR', 'CT'];

    WITH positions AS (
      SELECT SeriesInstanceUID, ARRAY_TO_STRING(ImagePositionPatient, "/") AS position, COUNT(*) AS slices,
      FROM `bigquery-public-data.idc_v20.dicom_all`
      WHERE Modality IN UNNEST(modalities)
      GROUP BY SeriesInstanceUID, position)
    SELECT SeriesInstanceUID, MAX(slices) AS slices_per_position,
      SAFE_DIVIDE(SUM(slices), COUNT(position)) AS average, MAX(position) = "" AS unplaced
    FROM positions GROUP BY SeriesInstanceUID
    HAVING slices_per_position > least_slices
    """
    found = grouped(
        (h.get("SeriesInstanceUID"), tuple(h.get("ImagePositionPatient") or ()))
        for h in corpus.headers
        if h["Modality"] in ("MR", "CT")
    )
    expected = {
        uid: (most, len(places) / len(set(places)), set(places) == {()})
        for uid, places in found.items()
        if (most := max(Counter(places).values())) > 1
    }
    assert {True, False} == {unplaced for *_, unplaced in expected.values()}
    assert {
        row["SeriesInstanceUID"]: (row["slices_per_position"], row["average"], row["unplaced"])
        for row in corpus.ask(sql, "bigquery")
    } == expected


def test_what_only_the_release_knows_is_joined(corpus: Any) -> None:
    sql = """
    SELECT aux.series_uuid, meta.SeriesInstanceUID, ANY_VALUE(curated.BodyPartExamined) AS part,
      ANY_VALUE(aux.license_short_name) AS license, ANY_VALUE(aux.series_init_idc_version) AS since,
      ANY_VALUE(aux.idc_case_id) AS unknown
    FROM `bigquery-public-data.idc_current.auxiliary_metadata` AS aux
    JOIN `bigquery-public-data.idc_current.dicom_metadata` AS meta USING (SOPInstanceUID)
    LEFT JOIN `bigquery-public-data.idc_current.dicom_metadata_curated` AS curated USING (SOPInstanceUID)
    WHERE aux.license_short_name IS NOT NULL
    GROUP BY 1, 2
    """
    ours = {h["SeriesInstanceUID"]: h for h in corpus.headers if h.get("SeriesInstanceUID")}
    catalog = corpus.ask(
        "SELECT SeriesInstanceUID, license_short_name, series_init_idc_version, BodyPartExamined "
        "FROM idc_index"
    )
    expected = {
        row["SeriesInstanceUID"]: (
            row["license_short_name"],
            row["series_init_idc_version"],
            row["BodyPartExamined"] or ours[row["SeriesInstanceUID"]].get("BodyPartExamined"),
            None,
        )
        for row in catalog
        if row["SeriesInstanceUID"] in ours
    }
    assert expected
    rows = corpus.ask(sql, "bigquery")
    assert {
        r["SeriesInstanceUID"]: (r["license"], r["since"], r["part"], r["unknown"]) for r in rows
    } == expected
