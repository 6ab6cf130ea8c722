"""The model cache, decided: which chunk comes from where. Knows no socket, no disk and no Dask."""
