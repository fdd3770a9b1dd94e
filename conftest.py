"""Test settings of the whole repository."""
import os

os.environ.setdefault('OMP_NUM_THREADS', '2')
