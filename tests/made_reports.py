"""Segmentations and TID 1500 measurement reports, written by highdicom from a series of small planes."""

from pathlib import Path
from random import Random
from typing import Any

import highdicom as hd
import numpy as np
from made_cohort import ct, encoded, uid
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code

FINDINGS = [
    Code("108369006", "SCT", "Neoplasm"),
    Code("4147007", "SCT", "Mass"),
    Code("27925004", "SCT", "Nodule"),
]
SITES = [Code("39607008", "SCT", "Lung"), Code("10200004", "SCT", "Liver"), Code("64033007", "SCT", "Kidney")]
SIDES = [Code("7771000", "SCT", "Left"), Code("24028007", "SCT", "Right"), None]
QUANTITIES = [
    (Code("118565006", "SCT", "Volume"), Code("mm3", "UCUM", "cubic millimeter")),
    (Code("410668003", "SCT", "Length"), Code("mm", "UCUM", "millimeter")),
    (Code("126401", "DCM", "SUVbw"), Code("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight")),
]
DERIVATIONS = [Code("373098007", "SCT", "Mean"), Code("56851009", "SCT", "Maximum"), None]
EVALUATIONS = [
    (Code("C45992", "NCIt", "Subtlety score"), Code("105", "99LIDC", "5 out of 5 (Obvious)")),
    (Code("111037", "DCM", "Margins"), Code("112136", "DCM", "Lesion margin")),
]
CATEGORY = Code("49755003", "SCT", "Morphologically Altered Structure")
DEVICE = {"manufacturer": "Maker", "manufacturer_model_name": "Model", "software_versions": "1"}


def source_planes(folder: Path, patient: int) -> list[Dataset]:
    """Two planes of a CT series, as highdicom reads them."""
    planes = []
    for number in (1, 2):
        plane = ct(
            5000 + patient,
            number,
            PatientBirthDate="19500101",
            PatientName="Made^Patient",
            StudyTime="101010",
            StudyID="1",
            AccessionNumber="A",
            ReferringPhysicianName="",
            SeriesNumber=1,
            InstanceNumber=number,
            PositionReferenceIndicator="",
        )
        path = folder / f"ct-{patient}-{number}.dcm"
        path.write_bytes(encoded(plane))
        planes.append(dcmread(path))
    return planes


def write_segmentation(folder: Path, number: int, planes: list[Dataset], random: Random) -> Dataset:
    """A segmentation of one to three segments."""
    count = random.randint(1, 3)
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=segment,
            segment_label=f"segment {segment}",
            segmented_property_category=CATEGORY,
            segmented_property_type=random.choice(FINDINGS),
            algorithm_type="MANUAL" if segment == 1 else "SEMIAUTOMATIC",
            algorithm_identification=None
            if segment == 1
            else hd.AlgorithmIdentificationSequence("Grow", Code("123", "99X", "Region growing"), "1"),
            tracking_uid=uid(77, number, segment),
            tracking_id=f"lesion {number}.{segment}",
            anatomic_regions=[random.choice(SITES)] if random.random() < 0.8 else None,
        )
        for segment in range(1, count + 1)
    ]
    pixels = np.zeros((2, 2, 2, count), dtype=np.uint8)
    for segment in range(count):
        pixels[:, segment % 2, segment // 2, segment] = 1
    made = hd.seg.Segmentation(
        source_images=planes,
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=uid(88, number),
        series_number=2,
        sop_instance_uid=uid(88, number, 1),
        instance_number=1,
        device_serial_number="1",
        **DEVICE,
    )
    made.save_as(folder / f"seg-{number}.dcm")
    return made


def write_report(
    folder: Path, number: int, segmentation: Dataset, planes: list[Dataset], random: Random
) -> None:
    """A report of one to three measured segments."""
    groups = [
        hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(uid(99, number, group), f"lesion {number}.{group}"),
            referenced_segment=hd.sr.ReferencedSegment(
                sop_class_uid=segmentation.SOPClassUID,
                sop_instance_uid=segmentation.SOPInstanceUID,
                segment_number=random.randint(1, len(segmentation.SegmentSequence)),
                source_series=hd.sr.SourceSeriesForSegmentation(planes[0].SeriesInstanceUID),
            ),
            finding_type=random.choice(FINDINGS),
            finding_sites=[hd.sr.FindingSite(random.choice(SITES), laterality=random.choice(SIDES))],
            measurements=[measurement(random) for _ in range(random.randint(1, 4))],
            qualitative_evaluations=[
                hd.sr.QualitativeEvaluation(*pair)
                for pair in random.sample(EVALUATIONS, random.randint(0, 2))
            ],
        )
        for group in range(random.randint(1, 3))
    ]
    observer = hd.sr.ObserverContext(
        observer_type=Code("121007", "DCM", "Device"),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(uid=uid(1)),
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=Code("77477000", "SCT", "CT"),
        imaging_measurements=groups,
    )
    report = hd.sr.Comprehensive3DSR(
        evidence=[segmentation, *planes],
        content=content[0],
        series_number=3,
        instance_number=1,
        series_instance_uid=uid(66, number),
        sop_instance_uid=uid(66, number, 1),
        series_description=f"report {number}",
        manufacturer="Maker",
    )
    report.save_as(folder / f"sr-{number}.dcm")


def measurement(random: Random) -> Any:
    """A measurement whose value has at most nine decimals, as NUMERIC keeps."""
    name, unit = random.choice(QUANTITIES)
    value = round(random.uniform(0, 1000), random.randint(0, 6))
    return hd.sr.Measurement(name=name, value=value, unit=unit, derivation=random.choice(DERIVATIONS))


def write_cohort(folder: Path, segmentations: int, reports: int) -> None:
    """Write segmentations of as many patients, and reports on them."""
    random = Random(1500)
    made = []
    for number in range(segmentations):
        planes = source_planes(folder, number)
        made.append((write_segmentation(folder, number, planes, random), planes))
    for number in range(reports):
        write_report(folder, number, *made[number % len(made)], random)
