"""Methods outside the core, each in a folder of its own; named in a config as ``plugins.<folder>``."""
