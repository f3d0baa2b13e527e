"""Turn the segments in `cdc_raw` into signals: discovery, sync markers, index files, gaps, checkpoints, release.

`Tail` is the source of changes. It reads every segment in the order of ids, submits signals to the pipeline, and
deletes a segment when it is finished, acknowledged and behind a durable checkpoint.
"""
