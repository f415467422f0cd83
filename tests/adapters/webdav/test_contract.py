"""WebDAV keeps the contract on Apache, and on other servers as far as these keep what they promise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adapters.base import Adapter, ListsUnfinished, ReportsSpace
from adapters.errors import AdapterError, Unavailable
from adapters.testkit import AdapterContract, Line, Network, OtherProcesses, Settings
from adapters.testkit.keys import LEGAL
from adapters.webdav_write import COLLECTED_BYTES
from tests.adapters.guarantees import Documented
from tests.adapters.webdav.storages import build, settings_of
from tests.servers.apache import PASSWORD, USER, Apache
from tests.servers.nginx_dav import nginx_dav
from tests.servers.proxy import CuttingProxy
from tests.servers.rclone_dav import RcloneDav


@pytest.fixture(scope="module")
def apache_settings(apache: Apache) -> Settings:
    return settings_of(apache.url, username=USER, credential={"password": PASSWORD})


@pytest.fixture(scope="module")
def apache_adapter(apache_settings: Settings) -> Iterator[Adapter]:
    adapter = build(apache_settings)
    assert [step for step in adapter.check() if not step.ok] == []
    assert adapter.traits.atomic_replace
    yield adapter
    adapter.close()


class TestApache(AdapterContract, OtherProcesses, Network, Documented):
    row = "`webdav` (Apache)"
    part_bytes = COLLECTED_BYTES
    bulk_memory_bytes = 16 * 1024 * 1024

    @pytest.fixture
    def settings(self, apache_settings: Settings) -> Settings:
        return apache_settings

    @pytest.fixture
    def adapter(self, apache_adapter: Adapter) -> Adapter:
        return apache_adapter

    @pytest.fixture
    def network(self, apache: Apache, settings: Settings) -> Iterator[Line]:
        with CuttingProxy(apache.port) as proxy:
            options = {"url": f"http://127.0.0.1:{proxy.port}/", "connect_timeout_s": 5, "stall_timeout_s": 5}
            adapter = build(Settings("webdav", {**settings.options, **options}, settings.credential))
            yield Line(adapter, proxy)
            adapter.close()

    def test_free_space_is_a_number_of_bytes(self, adapter: Adapter) -> None:
        tells_no_space(adapter)


@pytest.fixture(scope="module")
def nginx_adapter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapter]:
    with nginx_dav(tmp_path_factory.mktemp("nginx-dav")) as server:
        adapter = build(settings_of(server.url))
        assert [step for step in adapter.check() if not step.ok] == []
        assert adapter.traits.atomic_replace
        yield adapter
        adapter.close()


class TestNginx(AdapterContract, Documented):
    """Its PROPFIND tells no entity tag, and lists no name that begins with a dot."""

    row = "`webdav` (nginx)"
    part_bytes = COLLECTED_BYTES

    @pytest.fixture
    def adapter(self, nginx_adapter: Adapter) -> Adapter:
        return nginx_adapter

    def test_every_legal_key_names_an_object_of_its_own(self, adapter: Adapter, folder: str) -> None:
        for key in LEGAL:
            self.store(adapter, folder + key, key.encode())
        assert set(self.keys(adapter, folder)) == {folder + key for key in LEGAL if not key.startswith(".")}
        for key in LEGAL:
            assert self.fetch(adapter, folder + key) == key.encode()

    def test_unfinished_write_is_found_by_exactly_its_key(self, adapter: Adapter, folder: str) -> None:
        with adapter.open_write(f"{folder}d/p", size=None) as session:
            session.write(self.content(self.several_parts))
            assert adapter.unfinished_writes(f"{folder}d/p") == []

    def test_unfinished_writes_below_a_folder_are_listed_and_no_others(self, adapter: Adapter, folder: str) -> None:
        assert isinstance(adapter, ListsUnfinished)
        with adapter.open_write(f"{folder}d/p", size=None) as session:
            session.write(self.content(self.several_parts))
            assert list(adapter.scan_unfinished(folder)) == []

    @pytest.mark.parametrize("by", ["its own token"])
    def test_unfinished_write_is_removed_by_its_token(self, adapter: Adapter, folder: str, by: str) -> None:
        session = adapter.open_write(f"{folder}object", size=None)
        session.write(self.content(self.several_parts))
        adapter.abort_write(session.token)
        session.abort()
        self.assert_nothing_left(adapter, f"{folder}object")

    def test_version_is_the_same_however_it_is_asked_for(self, adapter: Adapter, folder: str) -> None:
        """Whichever was told is read by, and its own name for the version stays."""
        published = self.store(adapter, f"{folder}object", b"0123456789")
        with adapter.open_read(f"{folder}object") as stream:
            tagged = stream.stat
        assert (published.version[:2], tagged.version[:2]) == ("m:", "e:")
        for stat in (published, tagged):
            with adapter.open_read(f"{folder}object", 2, 5, version=stat.version) as stream:
                assert (stream.read(), stream.stat.version) == (b"234", stat.version)

    def test_stream_describes_what_it_reads(self, adapter: Adapter, folder: str) -> None:
        stat = self.store(adapter, f"{folder}object", b"12345")
        with adapter.open_read(f"{folder}object", 1, 3, version=stat.version) as stream:
            assert (stream.start, stream.stop, stream.stat) == (1, 3, stat)

    def test_free_space_is_a_number_of_bytes(self, adapter: Adapter) -> None:
        tells_no_space(adapter)


@pytest.fixture(scope="module")
def rclone_adapter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapter]:
    with RcloneDav(tmp_path_factory.mktemp("rclone-dav")) as server:
        adapter = build(settings_of(server.url))
        assert [step for step in adapter.check() if not step.ok] == []
        assert not adapter.traits.atomic_replace
        yield adapter
        adapter.close()


class TestRclone(AdapterContract, Documented):
    """It writes over what is there, shows what has come so far, and locks what is being written."""

    row = "`webdav` (rclone)"
    part_bytes = COLLECTED_BYTES

    @pytest.fixture
    def adapter(self, rclone_adapter: Adapter) -> Adapter:
        return rclone_adapter

    @pytest.mark.parametrize("by", ["its own token"])
    def test_unfinished_write_is_removed_by_its_token(self, adapter: Adapter, folder: str, by: str) -> None:
        session = adapter.open_write(f"{folder}object", size=None)
        session.write(self.content(self.several_parts))
        with pytest.raises(Unavailable, match="423"):
            adapter.abort_write(session.token)
        session.abort()
        self.assert_nothing_left(adapter, f"{folder}object")

    def test_free_space_is_a_number_of_bytes(self, adapter: Adapter) -> None:
        tells_no_space(adapter)


def tells_no_space(adapter: Adapter) -> None:
    assert isinstance(adapter, ReportsSpace)
    with pytest.raises(AdapterError, match="space"):
        adapter.free_bytes()
