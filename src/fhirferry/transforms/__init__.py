"""The workbench: what happens to a page of NDJSON between source and writer."""
