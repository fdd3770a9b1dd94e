"""Files, checksums, conversion of weights, and the mend of mmaction2's wheel."""
