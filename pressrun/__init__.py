"""The domain: requests, plan, manifest, index, report. No Prefect, no Dask, no network of its own."""
