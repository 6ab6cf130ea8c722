"""What lives on a Dask worker, and what drives Dask workers; no Prefect. These are not Prefect workers."""
