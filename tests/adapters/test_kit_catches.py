"""The kit catches every lie: each broken adapter breaks one promise, and the test named beside it fails for it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import pytest

from adapters.base import Adapter, WriteMode
from adapters.errors import AdapterError, WriteLost
from adapters.guard import guard
from adapters.local import LocalAdapter
from adapters.memory import MemoryAdapter
from adapters.testkit import AdapterContract, OtherProcesses, Settings
from tests.adapters import broken_names, broken_reads, broken_writes

FOLDER = "kit/"
CREATE = {"mode": WriteMode.CREATE}
CHUNK = {"unit": "chunk", "edge": 0, "declared": True}
CASES: list[tuple[type[Adapter], str, Mapping[str, object]]] = [
    (broken_reads.ShortRead, "test_what_was_written_comes_back", CHUNK),
    (broken_reads.WrongBytes, "test_what_was_written_comes_back", CHUNK),
    (broken_reads.LongRead, "test_range_holds_exactly_its_bytes", {}),
    (broken_reads.WrongOffset, "test_range_holds_exactly_its_bytes", {}),
    (broken_reads.IgnoresRange, "test_range_outside_the_object_is_refused", {"start": 0, "stop": 6}),
    (broken_reads.IgnoresVersion, "test_pinned_read_of_another_version_is_refused", {}),
    (broken_reads.MixesVersions, "test_open_read_never_mixes_two_versions", {}),
    (broken_reads.SameVersion, "test_version_changes_with_the_content", {}),
    (broken_reads.LateRefusal, "test_missing_object_is_not_found", {}),
    (broken_writes.PublishesShort, "test_short_body_is_never_published", CREATE),
    (broken_writes.PublishesShort, "test_short_body_is_never_published", {"mode": WriteMode.REPLACE}),
    (broken_writes.PublishesLong, "test_long_body_is_never_published", CREATE),
    (broken_writes.CutsLong, "test_long_body_is_never_published", CREATE),
    (broken_writes.PublishesOnLeaving, "test_failing_source_is_never_published", CREATE),
    (broken_writes.PublishesOnLeaving, "test_leaving_the_block_leaves_nothing", {}),
    (broken_writes.VisibleBeforePublish, "test_nothing_is_visible_before_publish", {}),
    (broken_writes.VisibleBeforePublish, "test_old_object_stays_until_the_new_one_is_published", {}),
    (broken_writes.AbortLeavesPartial, "test_abort_leaves_nothing_and_may_be_repeated", {}),
    (broken_writes.AbortLeavesPartial, "test_leaving_the_block_leaves_nothing", {}),
    (broken_writes.AbortLeavesPartial, "test_failing_source_is_never_published", CREATE),
    (broken_writes.KeepsTheBuffer, "test_writer_may_reuse_its_buffer", {}),
    (broken_writes.SwallowsErrors, "test_second_of_two_open_creates_is_refused", {}),
    (broken_writes.CreateOverwrites, "test_create_refuses_an_existing_object_and_leaves_it", {}),
    (broken_writes.CreateOverwritesLate, "test_second_of_two_open_creates_is_refused", {}),
    (broken_writes.CreateOverwritesLate, "test_one_of_two_creates_at_once_wins", {}),
    (broken_writes.ReplaceNotAtomic, "test_replacement_is_never_seen_torn", {}),
    (broken_names.FolderIsObject, "test_folder_is_no_object", {}),
    (broken_names.DecodesKeys, "test_every_legal_key_names_an_object_of_its_own", {}),
    (broken_names.FoldsCase, "test_every_legal_key_names_an_object_of_its_own", {}),
    (broken_names.DeleteOfMissingRaises, "test_deleting_what_is_missing_is_success", {}),
    (broken_names.DeleteTakesNeighbours, "test_keys_that_begin_alike_do_not_touch_each_other", {}),
    (broken_names.DeleteDoesNothing, "test_deleted_object_is_gone", {}),
    (broken_names.ScanUnordered, "test_scan_lists_every_key_once_in_order", {}),
    (broken_names.ScanByFolder, "test_scan_lists_every_key_once_in_order", {}),
    (broken_names.ScanInUtf16Order, "test_scan_lists_every_key_once_in_order", {}),
    (broken_names.ScanLosesAPage, "test_scan_lists_every_key_once_in_order", {}),
    (broken_names.ScanListsPartials, "test_scan_never_lists_an_unfinished_write", {}),
    (broken_names.ScanWholeFolders, "test_prefix_may_be_cut_anywhere", {}),
    (broken_names.ScanRepeats, "test_scan_goes_on_after_any_key", {}),
    (broken_names.NeverFolds, "test_folders_are_folded_into_prefixes", {}),
    (broken_names.LeaksItsDriver, "test_missing_object_is_not_found", {}),
    (broken_names.LeaksAndRecovers, "test_stream_closes_early_and_twice", {}),
    (broken_names.NamesNoKey, "test_errors_name_the_storage_and_the_key", {}),
    (broken_writes.ResumeLosesBytes, "test_suspended_write_goes_on_and_is_published_whole", {}),
    (broken_writes.ResumeStartsAnew, "test_suspended_write_goes_on_and_is_published_whole", {}),
    (broken_writes.ResumeForgetsMode, "test_resumed_create_still_refuses_an_existing_object", {}),
    (broken_writes.ResumeForgetsSize, "test_resumed_write_is_held_to_the_declared_size", {}),
    (broken_writes.FindsWritesOfNeighbours, "test_unfinished_write_is_found_by_exactly_its_key", {}),
    (broken_writes.FindsNoWrites, "test_unfinished_write_is_found_by_exactly_its_key", {}),
    (broken_writes.AbortByTokenDoesNothing, "test_unfinished_write_is_removed_by_its_token", {"by": "the token found"}),
    (broken_writes.TrustsTokens, "test_token_that_is_none_removes_nothing", {}),
    (broken_names.CheckLeavesItsFile, "test_check_finds_everything_in_order", {}),
    (broken_reads.LeaksDescriptors, "test_opening_and_closing_leaks_no_descriptor", {}),
]


def _run(adapter: Adapter, test: str, arguments: Mapping[str, object]) -> None:
    """What pytest does with one of the kit's tests and its fixtures."""
    kit = AdapterContract()
    method = getattr(kit, test)
    given = {"adapter": adapter, "folder": FOLDER, **arguments}
    wanted = inspect.signature(method).parameters
    if "tree" in wanted:
        given["tree"] = kit.plant(adapter, FOLDER)
    method(**{name: given[name] for name in wanted})
    kit.assert_no_leaks(adapter)


@pytest.mark.parametrize(
    ("kind", "test", "arguments"), CASES, ids=[f"{kind.__name__}-{test}" for kind, test, _ in CASES]
)
def test_kit_catches(kind: type[Adapter], test: str, arguments: Mapping[str, object], tmp_path: Path) -> None:
    broken = kind.build("broken", {"root": str(tmp_path)}, {})
    with pytest.raises((AssertionError, AdapterError, pytest.fail.Exception)):
        _run(guard(broken), test, arguments)
    broken.close()


@pytest.mark.parametrize(("test", "arguments"), [(test, arguments) for _, test, arguments in CASES])
@pytest.mark.parametrize("kind", [MemoryAdapter, LocalAdapter])
def test_kit_passes_what_keeps_the_promise(
    kind: type[Adapter], test: str, arguments: Mapping[str, object], tmp_path: Path
) -> None:
    _run(guard(kind.build("honest", {"root": str(tmp_path)}, {})), test, arguments)


@pytest.mark.parametrize(
    ("test", "arguments"),
    [
        ("test_illegal_key_is_refused_by_every_call", {"key": "../up"}),
        ("test_illegal_prefix_is_refused", {"prefix": "../"}),
    ],
)
def test_kit_catches_an_adapter_that_checks_no_key(test: str, arguments: Mapping[str, object]) -> None:
    with pytest.raises((AssertionError, AdapterError, pytest.fail.Exception)):
        _run(MemoryAdapter("unguarded"), test, arguments)


def test_kit_catches_an_adapter_that_holds_whole_objects_in_memory() -> None:
    with pytest.raises(AssertionError, match="memory grew by"):
        OtherProcesses().test_large_object_passes_through_little_memory(
            MemoryAdapter("ram"), FOLDER, Settings("memory", {}, {})
        )


def test_kit_catches_an_adapter_that_forgets_with_its_process() -> None:
    kit, adapter, settings = OtherProcesses(), MemoryAdapter("ram"), Settings("memory", {}, {})
    with pytest.raises(WriteLost):
        kit.test_write_goes_on_where_another_process_suspended_it(adapter, FOLDER, settings, resumes=None)
    with pytest.raises(AssertionError):
        kit.test_write_of_a_process_that_died_is_removed(adapter, FOLDER, settings)
