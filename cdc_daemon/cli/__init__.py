"""The subcommands of `cdc-daemon`, one module each."""
