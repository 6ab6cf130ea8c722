"""The stages of a run, each a thin Prefect task around one call."""
