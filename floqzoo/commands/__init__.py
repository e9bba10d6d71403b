"""The subcommands of `floqzoo`, one per file. They only handle arguments and output; other packages do the work."""
