"""The BioImage Model Zoo's own store of models: logging in, and uploading a package for review."""
