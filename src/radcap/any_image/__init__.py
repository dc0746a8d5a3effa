"""Captions for anyone's pictures: PNG, JPEG, DICOM and the like, from files and folders."""
