"""What a run's folder holds, as one HTML page that needs nothing else."""
from .write import write_page

__all__ = ['write_page']
