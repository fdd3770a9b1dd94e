"""From a data set as it is released to the lists that recipes read: ``tools/data/prepare.py``."""
