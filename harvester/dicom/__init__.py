"""DICOM without input or output: bytes in, values out."""
