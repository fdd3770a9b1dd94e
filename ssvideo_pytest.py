"""The words of ``pytest --pyargs ssvideo.contracts``; pytest loads this for every run, so it imports nothing of ours."""


def pytest_addoption(parser) -> None:
    """Add ``--component`` and ``--plugin``."""
    group = parser.getgroup('ssvideo', 'contracts of ssvideo')
    group.addoption('--component', action='append', default=[], metavar='NAME',
                    help='what to check: ssvideo.NAME, package.module.NAME, or a config file; may be given several times')
    group.addoption('--plugin', action='append', default=[], metavar='DIR',
                    help='folder of a plugin, which is imported before; may be given several times')
