"""The subcommands of `floqzoo`, one file each: arguments and output. The work is done in other packages."""
