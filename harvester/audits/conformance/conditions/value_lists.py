"""Enumerated Values and Defined Terms that later editions, or sections besides the tables, list."""

from collections.abc import Mapping
from typing import Final

from harvester.audits.conformance.conditions.pixel_values import PIXEL_VALUES, enumerated, terms, whole
from harvester.audits.conformance.standard import Values

_YES_NO: Final = enumerated("YES", "NO")
_FRAME_LEVEL: Final = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence")
_ENHANCED: Final = ("enhanced-ct-image", "enhanced-mr-image", "enhanced-pet-image")
_CONTRAST: Final = (
    *("DIFFUSION", "FLOW_ENCODED", "FLUID_ATTENUATED", "PERFUSION", "PROTON_DENSITY", "STIR", "TAGGING"),
    *("T1", "T2", "T2_STAR", "TOF", "UNKNOWN"),
)
_COMPONENT: Final = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")
_TECHNIQUE: Final = (*("MAX_IP", "MIN_IP", "VOLUME_RENDER", "SURFACE_RENDER", "MPR", "CURVED_MPR", "NONE"),)
_MODALITIES: Final = (
    *("ANN", "AR", "ASMT", "AU", "BDUS", "BI", "BMD", "CFM", "CR", "CT", "CTPROTOCOL", "DMS", "DG", "DOC"),
    *("DX", "ECG", "EEG", "EMG", "EOG", "EPS", "ES", "FID", "GM", "HC", "HD", "IO", "IOL", "IVOCT", "IVUS"),
    *("KER", "KO", "LEN", "LS", "M3D", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPTBSV"),
    *("OPTENF", "OPV", "OSS", "OT", "PA", "PLAN", "POS", "PR", "PT", "PX", "REG", "RESP", "RF", "RG"),
    *("RTDOSE", "RTIMAGE", "RTINTENT", "RTPLAN", "RTRAD", "RTRECORD", "RTSEGANN", "RTSTRUCT", "RWV", "SEG"),
    *("SM", "SMR", "SR", "SRF", "STAIN", "TEXTUREMAP", "TG", "US", "VA", "XA", "XAPROTOCOL", "XC"),
)
# PS3.3 C.7.3.1.1.1 lists Defined Terms; the series modules of other IODs have Enumerated Values.
_MODALITY: Final[Mapping[str, str]] = {
    "rt-dose": "RTDOSE",
    "rt-structure-set": "RTSTRUCT",
    "rt-plan": "RTPLAN",
    "rt-ion-plan": "RTPLAN",
    "rt-image": "RTIMAGE",
    "rt-beams-treatment-record": "RTRECORD",
    "rt-ion-beams-treatment-record": "RTRECORD",
    "rt-brachy-treatment-record": "RTRECORD",
    "rt-treatment-summary-record": "RTRECORD",
}
_TERMS_OF_SERIES: Final = (
    *("ct-image", "mr-image", "positron-emission-tomography-image", "computed-radiography-image"),
    *("nuclear-medicine-image", "ultrasound-image", "ultrasound-multi-frame-image", "parametric-map"),
    *("x-ray-angiographic-image", "x-ray-radiofluoroscopic-image", "secondary-capture-image"),
    *(
        f"multi-frame-{kind}-secondary-capture-image"
        for kind in ("single-bit", "grayscale-byte", "grayscale-word", "true-color")
    ),
    *("encapsulated-pdf", "legacy-converted-enhanced-pet-image", "breast-projection-x-ray-image"),
)
_SR_TYPES: Final = (
    *("TEXT", "CODE", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME", "COMPOSITE", "IMAGE", "WAVEFORM"),
    "CONTAINER",
)
_VALUE_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "PS3.3 A.35.1.3.1.1": ("1.2.840.10008.5.1.4.1.1.88.11", *_SR_TYPES),
    "PS3.3 A.35.2.3.1.1": ("1.2.840.10008.5.1.4.1.1.88.22", *_SR_TYPES, "NUM", "SCOORD", "TCOORD"),
    "PS3.3 A.35.3.3.1.1": ("1.2.840.10008.5.1.4.1.1.88.33", *_SR_TYPES, "NUM", "SCOORD", "TCOORD"),
    "PS3.3 A.35.4.3.1.1": (
        *("1.2.840.10008.5.1.4.1.1.88.59", "TEXT", "CODE", "UIDREF", "PNAME", "IMAGE", "WAVEFORM"),
        *("COMPOSITE", "CONTAINER"),
    ),
    "PS3.3 A.35.13.3.1.1": (
        *("1.2.840.10008.5.1.4.1.1.88.34", *_SR_TYPES, "NUM", "SCOORD", "SCOORD3D", "TCOORD"),
    ),
}

VALUES: Final[Mapping[str, tuple[Values, ...]]] = {
    **PIXEL_VALUES,
    # Series and general images
    **{
        f"{iod}/Modality": enumerated(modality, clause="PS3.3 C.8.8.1.1")
        for iod, modality in _MODALITY.items()
    },
    "encapsulated-stl/Modality": enumerated("M3D", clause="PS3.3 A.85.1"),
    "microscopy-bulk-simple-annotations/Modality": enumerated("ANN", clause="PS3.3 C.37.1.1"),
    **{f"{iod}/Modality": terms(*_MODALITIES, clause="PS3.3 C.7.3.1.1.1") for iod in _TERMS_OF_SERIES},
    "PatientPosition": terms(
        *("HFP", "HFS", "HFDR", "HFDL", "FFP", "FFS", "FFDR", "FFDL", "LFP", "LFS", "RFP", "RFS", "AFDR"),
        *("AFDL", "PFDR", "PFDL", "SITTING"),
        clause="PS3.3 C.7.3.1.1.2",
    ),
    "ImageLaterality": enumerated("R", "L", "U", "B"),
    "digital-mammography-x-ray-image/ImageLaterality": enumerated("R", "L", "B", clause="PS3.3 C.8.11.7"),
    "LossyImageCompression": enumerated("00", "01"),
    "LossyImageCompressionMethod": terms(
        *("ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15", "ISO_18181_1", "ISO_13818_2"),
        *("ISO_14496_10", "ISO_23008_2"),
        clause="PS3.3 C.7.6.1.1.5.1",
    ),
    "PresentationLUTShape": (
        *enumerated("IDENTITY", "INVERSE"),
        *enumerated(
            "IDENTITY", condition='PhotometricInterpretation != "MONOCHROME1"', clause="PS3.3 C.7.6.1"
        ),
        *enumerated(
            "INVERSE", condition='PhotometricInterpretation == "MONOCHROME1"', clause="PS3.3 C.7.6.1"
        ),
    ),
    "SpecificCharacterSet": terms(
        *("", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127"),
        *("ISO_IR 126", "ISO_IR 138", "ISO_IR 148", "ISO_IR 203", "ISO_IR 13", "ISO_IR 166", "ISO_IR 192"),
        *("GB18030", "GBK", "ISO 2022 IR 6", "ISO 2022 IR 100", "ISO 2022 IR 101", "ISO 2022 IR 109"),
        *("ISO 2022 IR 110", "ISO 2022 IR 144", "ISO 2022 IR 127", "ISO 2022 IR 126", "ISO 2022 IR 138"),
        *("ISO 2022 IR 148", "ISO 2022 IR 203", "ISO 2022 IR 13", "ISO 2022 IR 166", "ISO 2022 IR 87"),
        *("ISO 2022 IR 159", "ISO 2022 IR 149", "ISO 2022 IR 58"),
        clause="PS3.3 C.12.1.1.2",
    ),
    "ResponsiblePersonRole": terms(
        *("OWNER", "PARENT", "CHILD", "SPOUSE", "SIBLING", "RELATIVE", "GUARDIAN", "CUSTODIAN", "AGENT"),
        *("INVESTIGATOR", "VETERINARIAN"),
        clause="PS3.3 C.7.1.1.1.2",
    ),
    "UniversalEntityIDType": terms("DNS", "EUI64", "ISO", "URI", "UUID", "X400", "X500"),
    "MappingResource": terms("DCMR", clause="PS3.3 8.4"),
    # Image types by position
    "ct-image/ImageType": terms("AXIAL", "LOCALIZER", position=3, clause="PS3.3 C.8.2.1.1.1"),
    "nuclear-medicine-image/ImageType": (
        *enumerated(
            *("STATIC", "DYNAMIC", "GATED", "WHOLE BODY", "TOMO", "GATED TOMO", "RECON TOMO"),
            "RECON GATED TOMO",
            position=3,
            clause="PS3.3 C.8.4.9.1.1",
        ),
        *enumerated("EMISSION", "TRANSMISSION", position=4, clause="PS3.3 C.8.4.9.1.1"),
    ),
    **{
        f"x-ray-{kind}-image/ImageType": enumerated(
            "SINGLE PLANE", "BIPLANE A", "BIPLANE B", position=3, clause="PS3.3 C.8.7.1.1.1"
        )
        for kind in ("angiographic", "radiofluoroscopic")
    },
    **{
        f"{place}Type": (
            *terms("VOLUME", "LABEL", "OVERVIEW", "THUMBNAIL", position=3, clause="PS3.3 C.8.12.4.1.1"),
            *terms("NONE", "RESAMPLED", position=4, clause="PS3.3 C.8.12.4.1.1"),
        )
        for place in (
            "vl-whole-slide-microscopy-image/Image",
            "WholeSlideMicroscopyImageFrameTypeSequence/Frame",
        )
    },
    "SeriesType": (
        *enumerated("STATIC", "DYNAMIC", "GATED", "WHOLE BODY", position=1, clause="PS3.3 C.8.9.1.1.4"),
        *enumerated("IMAGE", "REPROJECTION", position=2, clause="PS3.3 C.8.9.1.1.4"),
    ),
    "MaskOperation": terms("NONE", "AVG_SUB", "TID", "REV_TID", clause="PS3.3 C.7.6.10.1"),
    # CT, MR, PET and enhanced images
    "ct-image/RescaleType": terms(
        *("OD", "HU", "US", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"), clause="PS3.3 C.11.1.1.2"
    ),
    "ModalityLUTSequence/ModalityLUTType": terms("OD", "HU", "US", clause="PS3.3 C.11.1.1.2"),
    "positron-emission-tomography-image/RescaleIntercept": enumerated("0", clause="PS3.3 C.8.9.4.1"),
    "positron-emission-tomography-image/Units": terms(
        *("CNTS", "NONE", "CM2", "CM2ML", "PCNT", "CPS", "BQML", "MGMINML", "UMOLMINML", "MLMING", "MLG"),
        *("1CM", "UMOLML", "PROPCNTS", "PROPCPS", "MLMINML", "MLML", "GML", "STDDEV", "SUV"),
        clause="PS3.3 C.8.9.1.1.3",
    ),
    **{
        f"{place}/{keyword}": enumerated(*texts, *mixed, clause=clause)
        for places, mixed in ((_FRAME_LEVEL, ()), (_ENHANCED, ("MIXED",)))
        for place in places
        for keyword, texts, clause in (
            ("PixelPresentation", ("COLOR", "MONOCHROME", "TRUE_COLOR"), "PS3.3 C.8.16.2.1.1"),
            ("VolumetricProperties", ("VOLUME", "SAMPLED", "DISTORTED"), "PS3.3 C.8.16.2.1.2"),
            ("ComplexImageComponent", _COMPONENT, "PS3.3 C.8.13.3.1.1"),
            ("AcquisitionContrast", _CONTRAST, "PS3.3 C.8.13.3.1.2"),
        )
    },
    **{
        f"{place}/VolumeBasedCalculationTechnique": terms(*_TECHNIQUE, *mixed, clause="PS3.3 C.8.16.2.1.3")
        for places, mixed in ((_FRAME_LEVEL, ()), (_ENHANCED, ("MIXED",)))
        for place in places
    },
    "StereoPairsPresent": _YES_NO,
    # X-ray, NM, US
    **{
        f"x-ray-{kind}-image/PixelIntensityRelationship": terms(
            "LIN", "LOG", "DISP", clause="PS3.3 C.8.7.1.1.2"
        )
        for kind in ("angiographic", "radiofluoroscopic")
    },
    **{
        f"{iod}/PresentationIntentType": (
            *enumerated("FOR PRESENTATION", "FOR PROCESSING"),
            *enumerated("FOR PRESENTATION", condition=f'SOPClassUID == "{presentation}"', clause="PS3.4 B.5"),
            *enumerated("FOR PROCESSING", condition=f'SOPClassUID == "{presentation}.1"', clause="PS3.4 B.5"),
        )
        for iod, presentation in (
            ("digital-x-ray-image", "1.2.840.10008.5.1.4.1.1.1.1"),
            ("digital-mammography-x-ray-image", "1.2.840.10008.5.1.4.1.1.1.2"),
        )
    },
    "digital-mammography-x-ray-image/Modality": enumerated("MG", clause="PS3.3 C.8.11.6"),
    "digital-mammography-x-ray-image/OrganExposed": enumerated("BREAST", clause="PS3.3 C.8.11.7"),
    "nuclear-medicine-image/FrameIncrementPointer": enumerated(
        *("00540010", "00540020", "00540030", "00540050", "00540060", "00540070", "00540080", "00540090"),
        "00540100",
        clause="PS3.3 C.8.4.8.1.1",
    ),
    "SliceProgressionDirection": enumerated(
        *("APEX_TO_BASE", "BASE_TO_APEX", "ANT_TO_INF", "INF_TO_ANT", "SEPTUM_TO_WALL", "WALL_TO_SEPTUM")
    ),
    "RegionSpatialFormat": enumerated(*whole(0, 5), clause="PS3.3 C.8.5.5.1.1"),
    "RegionDataType": enumerated(*whole(0, 18), clause="PS3.3 C.8.5.5.1.2"),
    "PixelComponentOrganization": enumerated(*whole(0, 3), clause="PS3.3 C.8.5.5.1.13"),
    "PixelComponentPhysicalUnits": enumerated(*whole(0, 12), clause="PS3.3 C.8.5.5.1.16"),
    "PixelComponentDataType": enumerated(*whole(0, 10), clause="PS3.3 C.8.5.5.1.17"),
    "StageName": terms(
        *("PRE-EXERCISE", "POST-EXERCISE", "PEAK-EXERCISE", "RECOVERY", "BASELINE", "LOW DOSE", "PEAK DOSE"),
        clause="PS3.3 C.8.5.6.1.19",
    ),
    # Radiotherapy
    "RTROIInterpretedType": terms(
        *("EXTERNAL", "PTV", "CTV", "GTV", "TREATED_VOLUME", "IRRAD_VOLUME", "OAR", "BOLUS", "AVOIDANCE"),
        *("ORGAN", "MARKER", "REGISTRATION", "ISOCENTER", "CONTRAST_AGENT", "CAVITY", "BRACHY_CHANNEL"),
        *("BRACHY_ACCESSORY", "BRACHY_SRC_APP", "BRACHY_CHNL_SHLD", "SUPPORT", "FIXATION", "DOSE_REGION"),
        *("CONTROL", "DOSE_MEASUREMENT", "NONE"),
        clause="PS3.3 C.8.8.8.1",
    ),
    "ROIPhysicalProperty": terms(
        *("REL_MASS_DENSITY", "REL_ELEC_DENSITY", "EFFECTIVE_Z", "EFF_Z_PER_A", "REL_STOP_RATIO"),
        "ELEM_FRACTION",
        clause="PS3.3 C.8.8.8",
    ),
    "ContourGeometricType": enumerated(
        *("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", "CLOSED_PLANAR", "CLOSEDPLANAR_XOR"),
        clause="PS3.3 C.8.8.6.1",
    ),
    # Slides, segmentations, annotations, parametric maps
    "segmentation/SegmentationType": (
        *enumerated("BINARY", "FRACTIONAL", "LABELMAP"),
        *enumerated(
            *("BINARY", "FRACTIONAL"),
            condition='SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"',
            clause="PS3.3 A.51.5",
        ),
        *enumerated(
            "LABELMAP", condition='SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"', clause="PS3.3 A.51.5"
        ),
    ),
    "SegmentationFractionalType": enumerated("PROBABILITY", "OCCUPANCY"),
    "SegmentsOverlap": (
        *enumerated("YES", "NO", "UNDEFINED"),
        *enumerated("NO", condition='SegmentationType == "LABELMAP"', clause="PS3.3 C.8.20.2"),
    ),
    "AnnotationGroupSequence/GraphicType": enumerated("POINT", "POLYLINE", "POLYGON", "ELLIPSE", "RECTANGLE"),
    "AnnotationGroupGenerationType": enumerated("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"),
    "AnnotationCoordinateType": enumerated("2D", "3D"),
    "AnnotationAppliesToAllOpticalPaths": _YES_NO,
    "AnnotationAppliesToAllZPlanes": _YES_NO,
    "PixelOriginInterpretation": enumerated("FRAME", "VOLUME"),
    "MinimumStoredValueMapped": _YES_NO,
    "MaximumStoredValueMapped": _YES_NO,
    # Structured reports and presentation states
    **{
        f"{place}ValueType": tuple(
            Values(
                enumerated=True, texts=tuple(types), condition=f'root.SOPClassUID == "{uid}"', clause=clause
            )
            for clause, (uid, *types) in _VALUE_TYPES.items()
        )
        for place in (
            "ContentSequence/",
            *(
                f"{iod}/"
                for iod in (
                    *("basic-text-sr", "enhanced-sr", "comprehensive-sr", "comprehensive-3d-sr"),
                    "key-object-selection-document",
                )
            ),
        )
    },
    "ContentSequence/GraphicType": (
        *enumerated(
            *("POINT", "MULTIPOINT", "POLYLINE", "CIRCLE", "ELLIPSE"),
            condition='ValueType == "SCOORD"',
            clause="PS3.3 C.18.6",
        ),
        *enumerated(
            *("POINT", "MULTIPOINT", "POLYLINE", "POLYGON", "ELLIPSE", "ELLIPSOID"),
            condition='ValueType == "SCOORD3D"',
            clause="PS3.3 C.18.9",
        ),
    ),
    **{
        f"{place}/ValueType": enumerated(
            *("DATE", "TIME", "DATETIME", "PNAME", "UIDREF", "TEXT", "CODE", "NUMERIC", "COMPOSITE", "IMAGE"),
            "WAVEFORM",
            clause="PS3.3 10.2",
        )
        for place in ("AcquisitionContextSequence", "ProtocolContextSequence", "ContentItemModifierSequence")
    },
    "BoundingBoxAnnotationUnits": enumerated("PIXEL", "DISPLAY", "MATRIX"),
    "AnchorPointAnnotationUnits": enumerated("PIXEL", "DISPLAY", "MATRIX"),
    "GraphicAnnotationUnits": enumerated("PIXEL", "DISPLAY", "MATRIX"),
    "encapsulated-pdf/MIMETypeOfEncapsulatedDocument": enumerated(
        *("application/pdf", "application/PDF", "Application/PDF", "APPLICATION/PDF"), clause="PS3.3 A.45.1"
    ),
}
