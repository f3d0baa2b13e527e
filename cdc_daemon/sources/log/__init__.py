"""From the `cdc_raw` folder to signals: discovery, sync markers, index files, gaps, checkpoints, release.

`Tail` is the source of change: it reads every segment in the order of ids, hands signals to the pipeline, and
deletes a segment when it is finished, acknowledged and behind a durable checkpoint.
"""
