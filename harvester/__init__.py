"""Reads the headers of DICOM objects where they lie and turns them into Parquet that answers SQL."""

__version__ = "0.1.0"

__all__ = ["__version__"]
