"""The adapter contract as tests: a test module subclasses ``AdapterContract`` and passes it whole.

    class TestSftp(AdapterContract, OtherProcesses, Network):
        part_bytes = 1                       # how many bytes the storage takes at least at once, 8 MiB for some

        @pytest.fixture
        def adapter(self, sshd): ...         # guarded, as ``registry.build`` gives it
        @pytest.fixture
        def settings(self, sshd): ...        # Settings, from which another process builds the same storage
        @pytest.fixture
        def network(self, sshd): ...         # a Line: the same storage through tests.servers.proxy.CuttingProxy

``OtherProcesses`` is for every storage that outlives its process, ``Network`` for every one reached by network. Each
test keeps to a folder of its own, so a server may be shared. What no test of the kit can provoke by itself (a full
disk, a refused credential) is for the adapter's own tests. Nothing here needs Django.
"""

from adapters.testkit.base import Contract
from adapters.testkit.bounds import Bounds
from adapters.testkit.concurrency import Concurrency
from adapters.testkit.copying import Copying
from adapters.testkit.deleting import Deleting
from adapters.testkit.keys import Keys
from adapters.testkit.lies import Lies
from adapters.testkit.network import Line, Network, Proxy
from adapters.testkit.processes import OtherProcesses, Settings
from adapters.testkit.resuming import Resuming
from adapters.testkit.roundtrips import RoundTrips
from adapters.testkit.scans import Scans
from adapters.testkit.versions import Versions
from adapters.testkit.visibility import Visibility

__all__ = ["AdapterContract", "Contract", "Line", "Network", "OtherProcesses", "Proxy", "Settings"]


class AdapterContract(
    RoundTrips, Keys, Visibility, Lies, Versions, Resuming, Deleting, Copying, Scans, Concurrency, Bounds
):
    """What every storage keeps, seen from within one process."""
