"""From a source of captioned images to one memory-mapped Arrow file per split."""
