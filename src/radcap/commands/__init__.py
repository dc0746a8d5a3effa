"""What the subcommands of `radcap` do, by what they are about; their options stand in radcap.cli."""
