"""What Pressrun is measured against, each written as its own documentation shows and run in a process of its own.

They do the same work: the same requests, seeds, steps and guidance, one PNG a picture, an embedding of each by the same
CLIP, and a Parquet manifest. They do not do what else Pressrun does: resume, checksums, an index, a report.

Ray is not among Pressrun's dependencies: `pip install 'ray[data]'`, or the extra `bench`; without it its rows are left
out and the table says so.
"""
