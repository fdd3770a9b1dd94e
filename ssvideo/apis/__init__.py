"""The library's face: what a script calls."""
