"""Sequences of synthetic headers: specimens, segments, frames, reports; as SQL, see attributes.py."""

_TISSUE = "pick(hs, 10, ['Lung', 'Breast', 'Kidney', 'Colon', 'Brain'])"

CODED = {
    "deidentification": "[code('113100', 'DCM', 'Basic Application Confidentiality Profile')[1],"
    " code('113105', 'DCM', 'Clean Descriptors Option')[1],"
    " code('113107', 'DCM', 'Retain Longitudinal Temporal Information Modified Dates Option')[1]]",
    "view": "code('399162004', 'SCT', 'cranio-caudal')",
    "breast": "code('76752008', 'SCT', 'Breast')",
}

POSITRON_EMISSION = {
    "Units": "pick(hs, 10, ['BQML', 'BQML', 'CNTS'])",
    "CountsSource": "'EMISSION'",
    "SeriesType": "['WHOLE BODY', 'IMAGE']",
    "CorrectedImage": "['NORM', 'DTIM', 'ATTN', 'SCAT', 'DECY', 'RAN']",
    "DecayCorrection": "'START'",
    "RandomsCorrectionMethod": "'DLYD'",
    "AttenuationCorrectionMethod": "'measured,AC'",
    "ReconstructionMethod": "pick(hs, 12, ['OSEM2D 4i8s', 'PSF+TOF 3i21s', '3D IR'])",
    "ConvolutionKernel": "[pick(hs, 14, ['XYZ Gauss5.00', 'ALL PASS'])]",
    "ScatterCorrectionMethod": "'Model-based'",
    "FrameReferenceTime": "n * 1000.5",
    "ActualFrameDuration": "180000",
    "DecayFactor": "1 + part(h, 8, 900) / 1000",
    "DoseCalibrationFactor": "1",
    "ImageIndex": "n",
    "NumberOfSlices": "instanceCount",
    "RadiopharmaceuticalInformationSequence": "[{'Radiopharmaceutical': 'FDG',"
    " 'RadiopharmaceuticalStartTime': clock(ht), 'RadionuclideTotalDose': 3e8 + part(ht, 8, 200000000),"
    " 'RadionuclideHalfLife': 6586.2, 'RadionuclidePositronFraction': 0.97,"
    " 'RadionuclideCodeSequence': code('77004003', 'SCT', '^18^Fluorine'),"
    " 'RadiopharmaceuticalCodeSequence': code('35321007', 'SCT', 'Fluorodeoxyglucose F^18^')}]",
}

# The preparation of a specimen as in IDC's slides: a step is a list of named values.
_STEPS = (
    "[{'SpecimenPreparationStepContentItemSequence': list_transform("
    "[{'name': code('434711009', 'SCT', 'Specimen container'), 'value': NULL,"
    "  'text': 'S' || part(hs, 8, 900)},"
    " {'name': code('111701', 'DCM', 'Processing type'),"
    "  'value': pick(hs, shift, [code('127790008', 'SCT', 'Staining'),"
    "   code('17636008', 'SCT', 'Specimen collection'), code('104210008', 'SCT', 'Embedding')]),"
    "  'text': NULL},"
    " {'name': code('424361007', 'SCT', 'Using substance'),"
    "  'value': pick(hs, shift, [code('12710003', 'SCT', 'hematoxylin stain'),"
    "   code('36879007', 'SCT', 'water soluble eosin stain')]),"
    "  'text': NULL}],"
    " lambda item: {'ValueType': CASE WHEN item.text IS NULL THEN 'CODE' ELSE 'TEXT' END,"
    "  'ConceptNameCodeSequence': item.name, 'ConceptCodeSequence': item.value, 'TextValue': item.text})}"
    " FOR shift IN [8, 12, 16]]"
)

SLIDE = {
    "ImageType": "pick(h, 10, [['ORIGINAL', 'PRIMARY', 'VOLUME', 'NONE'],"
    " ['DERIVED', 'PRIMARY', 'VOLUME', 'RESAMPLED'], ['DERIVED', 'PRIMARY', 'VOLUME', 'RESAMPLED'],"
    " ['DERIVED', 'PRIMARY', 'THUMBNAIL', 'RESAMPLED'], ['ORIGINAL', 'PRIMARY', 'LABEL', 'NONE']])",
    "AcquisitionDateTime": "CAST(StudyDate AS DATE) + clock(hs)",
    "VolumetricProperties": "'VOLUME'",
    "LossyImageCompressionRatio": "[5.0 + part(h, 8, 200) / 10]",
    "LossyImageCompressionMethod": "['ISO_10918_1']",
    "NumberOfFrames": "1 + part(h, 12, 400)",
    "ImagedVolumeWidth": "10 + part(hs, 8, 15000) / 1000",
    "ImagedVolumeHeight": "10 + part(hs, 12, 15000) / 1000",
    "ImagedVolumeDepth": "0.001",
    "TotalPixelMatrixColumns": "256 * (1 + part(h, 12, 400))",
    "TotalPixelMatrixRows": "256 * (1 + part(h, 14, 300))",
    "TotalPixelMatrixOriginSequence": "[{'XOffsetInSlideCoordinateSystem': 10.5,"
    " 'YOffsetInSlideCoordinateSystem': 20.0 + part(hs, 8, 20)}]",
    "ImageOrientationSlide": "[0, -1, 0, -1, 0, 0]",
    "SpecimenLabelInImage": "'NO'",
    "FocusMethod": "'AUTO'",
    "ExtendedDepthOfField": "'NO'",
    "FrameOfReferenceUID": "made_uid(ht)",
    "DimensionOrganizationType": "mostly(hs, 9, 'TILED_FULL')",
    "ContainerIdentifier": "PatientID || '-' || part(hs, 8, 90)",
    "ContainerTypeCodeSequence": "code('433466003', 'SCT', 'Microscope slide')",
    "SpecimenDescriptionSequence": "[{'SpecimenIdentifier': PatientID || '-' || part(hs, 8, 90),"
    " 'SpecimenUID': made_uid(hs), 'SpecimenShortDescription': SeriesDescription,"
    " 'PrimaryAnatomicStructureSequence': code(CAST(30000000 + hs % 9000000 AS VARCHAR), 'SCT',"
    f"  {_TISSUE}),"
    " 'SpecimenPreparationSequence': " + _STEPS + "}]",
    "NumberOfOpticalPaths": "1",
    "OpticalPathSequence": "[{'OpticalPathIdentifier': '1', 'IlluminationWaveLength': NULL::DOUBLE,"
    " 'ObjectiveLensPower': pick(hs, 14, [20, 40, 40]), 'ObjectiveLensNumericalAperture': 0.75,"
    " 'IlluminationTypeCodeSequence': code('111744', 'DCM', 'Brightfield illumination'),"
    " 'IlluminationColorCodeSequence': code('371251000', 'SCT', 'White')}]",
    "SharedFunctionalGroupsSequence": "[{'PixelMeasuresSequence': [{'SliceThickness': 0.001,"
    " 'PixelSpacing': list_value(0.000247 * (1 + part(h, 10, 4)), 0.000247 * (1 + part(h, 10, 4)))}],"
    " 'OpticalPathIdentificationSequence': [{'OpticalPathIdentifier': '1'}]}]",
}

_SEGMENTS = "range(1, 2 + part(hs, 8, 6))"
# A frame of each segment for some slices of the source.
_FRAMES = "range(1, 3 + part(h, 8, 60))"

SEGMENTS = {
    "ImageType": "['DERIVED', 'PRIMARY']",
    "BodyPartExamined": "BodyPartExamined",
    "ContentLabel": "'SEGMENTATION'",
    "ContentDescription": "'made segmentation'",
    "ContentCreatorName": "name('Reader1')",
    "NumberOfFrames": "2 + part(h, 8, 60)",
    "SegmentationType": "pick(hs, 10, ['BINARY', 'BINARY', 'FRACTIONAL'])",
    "FrameOfReferenceUID": "made_uid(ht)",
    "ReferencedSeriesSequence": "[{'SeriesInstanceUID': made_uid(hs),"
    " 'ReferencedInstanceSequence': [{'ReferencedSOPClassUID': '1.2.840.10008.5.1.4.1.1.2',"
    f" 'ReferencedSOPInstanceUID': made_uid(hash(hs, frame))}} FOR frame IN {_FRAMES}]}}]",
    "SegmentSequence": "[{'SegmentNumber': segment, 'SegmentLabel': 'Segment ' || segment,"
    " 'SegmentAlgorithmType': pick(hs, 12, ['AUTOMATIC', 'MANUAL', 'SEMIAUTOMATIC']),"
    " 'SegmentAlgorithmName': [pick(hs, 14, ['TotalSegmentator', 'nnU-Net', 'BAMF'])],"
    " 'RecommendedDisplayCIELabValue': [part(hs, 8, 65000), 30000, 20000],"
    " 'SegmentedPropertyCategoryCodeSequence': code('123037004', 'SCT', 'Anatomical Structure'),"
    " 'SegmentedPropertyTypeCodeSequence': pick(hash(hs, segment), 8, [code('10200004', 'SCT', 'Liver'),"
    "  code('39607008', 'SCT', 'Lung'), code('64033007', 'SCT', 'Kidney'),"
    "  code('78961009', 'SCT', 'Spleen')]),"
    " 'AnatomicRegionSequence': code('818981001', 'SCT', 'Abdomen')}"
    f" FOR segment IN {_SEGMENTS}]",
    "SharedFunctionalGroupsSequence": "[{'PlaneOrientationSequence': [{'ImageOrientationPatient':"
    " [1, 0, 0, 0, 1, 0]}], 'PixelMeasuresSequence': [{'SliceThickness': 2.5, 'SpacingBetweenSlices': 2.5,"
    " 'PixelSpacing': [0.7, 0.7]}]}]",
    "PerFrameFunctionalGroupsSequence": "[{'FrameContentSequence': [{'DimensionIndexValues':"
    " list_value(1 + frame % (1 + part(hs, 8, 6)), frame)}],"
    " 'PlanePositionSequence': [{'ImagePositionPatient': list_value(-160.5, -150.0, frame * 2.5)}],"
    " 'SegmentIdentificationSequence': [{'ReferencedSegmentNumber': [1 + frame % (1 + part(hs, 8, 6))]}],"
    " 'DerivationImageSequence': [{'SourceImageSequence': [{"
    "'ReferencedSOPClassUID': '1.2.840.10008.5.1.4.1.1.2',"
    " 'ReferencedSOPInstanceUID': made_uid(hash(hs, frame)), 'PurposeOfReferenceCodeSequence':"
    " code('121322', 'DCM', 'Source image for image processing operation')}]}]}"
    f" FOR frame IN {_FRAMES}]",
}

REPORT = {
    "CompletionFlag": "'COMPLETE'",
    "VerificationFlag": "'UNVERIFIED'",
    "ValueType": "'CONTAINER'",
    "ContinuityOfContent": "'SEPARATE'",
    "ConceptNameCodeSequence": "code('126000', 'DCM', 'Imaging Measurement Report')",
    "ContentTemplateSequence": "[{'MappingResource': 'DCMR', 'TemplateIdentifier': '1500'}]",
    "CurrentRequestedProcedureEvidenceSequence": "[{'StudyInstanceUID': StudyInstanceUID,"
    " 'ReferencedSeriesSequence': [{'SeriesInstanceUID': made_uid(hs), 'ReferencedSOPSequence':"
    " [{'ReferencedSOPClassUID': '1.2.840.10008.5.1.4.1.1.2',"
    " 'ReferencedSOPInstanceUID': made_uid(hash(h))}]}]}]",
    "ContentSequence": "[{'RelationshipType': 'CONTAINS', 'ValueType': 'CONTAINER',"
    " 'ConceptNameCodeSequence': code('126010', 'DCM', 'Imaging Measurements'),"
    " 'ContentSequence': [{'RelationshipType': 'CONTAINS', 'ValueType': 'NUM',"
    "  'ConceptNameCodeSequence': code('118565006', 'SCT', 'Volume'),"
    "  'MeasuredValueSequence': [{'NumericValue': list_value(item * 12.5 + part(h, 8, 900)),"
    "   'MeasurementUnitsCodeSequence': code('mm3', 'UCUM', 'cubic millimeter')}]}"
    " FOR item IN range(1, 3 + part(h, 8, 14))]}]",
}

_REGIONS = "range(1, 2 + part(h, 8, 12))"

STRUCTURES = {
    "StructureSetLabel": "'RTSTRUCT'",
    "StructureSetName": "'made'",
    "StructureSetDate": "CAST(SeriesDate AS DATE)",
    "StructureSetTime": "clock(h)",
    "ReferencedFrameOfReferenceSequence": "[{'FrameOfReferenceUID': made_uid(ht)}]",
    "StructureSetROISequence": "[{'ROINumber': roi, 'ROIName': 'GTV-' || roi,"
    " 'ReferencedFrameOfReferenceUID': made_uid(ht), 'ROIGenerationAlgorithm': 'SEMIAUTOMATIC'}"
    f" FOR roi IN {_REGIONS}]",
    "ROIContourSequence": "[{'ReferencedROINumber': roi, 'ROIDisplayColor': [255, 0, 0], 'ContourSequence':"
    " [{'ContourGeometricType': 'CLOSED_PLANAR', 'NumberOfContourPoints': 16, 'ContourData':"
    " list_transform(range(48), lambda place: place * 1.5 + level)} FOR level IN range(20)]}"
    f" FOR roi IN {_REGIONS}]",
    "RTROIObservationsSequence": "[{'ObservationNumber': roi, 'ReferencedROINumber': roi,"
    f" 'RTROIInterpretedType': 'GTV'}} FOR roi IN {_REGIONS}]",
}

ANNOTATIONS = {
    "ContentLabel": "'NUCLEI'",
    "ContentDescription": "'made annotations'",
    "AnnotationCoordinateType": "'2D'",
    "AnnotationGroupSequence": "[{'AnnotationGroupNumber': 1, 'AnnotationGroupUID': made_uid(h),"
    " 'AnnotationGroupLabel': 'nuclei', 'AnnotationGroupGenerationType': 'AUTOMATIC',"
    " 'AnnotationPropertyCategoryCodeSequence': code('91723000', 'SCT', 'Anatomical Structure'),"
    " 'AnnotationPropertyTypeCodeSequence': code('84640000', 'SCT', 'Nucleus'),"
    " 'NumberOfAnnotations': 1000 + part(h, 8, 900000), 'GraphicType': 'POLYGON'}]",
    "ReferencedSeriesSequence": "[{'SeriesInstanceUID': made_uid(hs)}]",
}
