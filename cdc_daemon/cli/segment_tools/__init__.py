"""The work of `cdc-daemon segments`: list, dump, verify and count commit log segments. Nothing is changed."""
