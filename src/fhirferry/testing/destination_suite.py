"""What every `Destination` must do, as a test class to inherit from (S7).

    class TestMyDestination(DestinationSuite):
        @pytest.fixture
        def destination(self): yield MyDestination(...)

The fixture gives an empty place that nobody has prepared. `again` opens the same place once more, as another process
would; without it the one object must stand for the place.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress

import pytest

from fhirferry.destinations.protocol import Destination
from fhirferry.model.errors import FolderInUse, PermanentError, RequestError

JOB = "0b6c5e1a"
OTHER = "77aa0042"
DATA = b'{"resourceType":"Patient","id":"1"}\n'
MIB = 2**20

HOSTILE = {
    "empty": "",
    "absolute": "/etc/passwd",
    "parent": "../x",
    "parent inside": "a/../../x",
    "parent at the end": "a/..",
    "here": "./x",
    "empty segment": "a//b",
    "trailing slash": "a/",
    "backslash": "a\\b",
    "drive": "C:x",
    "NUL": "a\0b",
    "newline": "a\nb",
    "escape": "a\x1b[2Jb",
    "space": "a b",
    "letter outside ASCII": "Pätient",
    "percent": "%2e%2e/x",
    "out of the hidden folder": ".fhirferry/../x",
    "hidden folder in capitals": ".FHIRFERRY/job",
    "hidden folder further down": "a/.fhirferry/x",
    "segment too long": "a" * 256,
    "name too long": "/".join(["a" * 200] * 6),
}


class DestinationSuite:
    """Inherit, and give the fixture `destination`."""

    def again(self, destination: Destination) -> Destination:
        """The same place, opened once more."""
        return destination

    def write(self, destination: Destination, stem: str, data: bytes = DATA, job: str = JOB) -> str:
        """A committed part; its name."""
        part = destination.part_name(job, stem)
        writer = destination.create(part)
        writer.write(data)
        writer.commit()
        return part

    def published(self, destination: Destination, name: str, data: bytes = DATA) -> str:
        """A committed and published file; its name."""
        part = self.write(destination, name.replace("/", "-"), data)
        final = name if destination.renames else part
        destination.publish(part, final)
        return final

    def body(self, destination: Destination, name: str) -> bytes:
        return b"".join(destination.read(name))

    def names(self, destination: Destination, prefix: str = "") -> list[str]:
        return [stored.name for stored in destination.list(prefix)]

    # Names

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
    def test_a_hostile_name_is_refused_before_any_io(self, destination: Destination, name: str) -> None:
        destination.prepare(JOB)
        good = self.write(destination, "good")
        before = [*self.names(destination), *self.names(destination, ".fhirferry/")]
        calls: list[Callable[[], object]] = [
            lambda: destination.part_name(name, "stem") if name else destination.part_name("a/b", "stem"),
            lambda: destination.part_name(JOB, "../" + name),
            lambda: destination.create(name),
            lambda: destination.publish(good, name),
            lambda: destination.publish(name, "Patient-1.ndjson"),
            lambda: destination.put(JOB, name, DATA),
            lambda: destination.stat(name),
            lambda: destination.url_for(name, 60),
            lambda: list(destination.read(name)),
            lambda: destination.delete([good, name]),
            lambda: destination.forget(JOB, [name]),
            lambda: destination.forget(OTHER, [name]),
        ]
        for call in calls:
            with pytest.raises(RequestError) as caught:
                call()
            assert str(caught.value).isprintable()
        assert [*self.names(destination), *self.names(destination, ".fhirferry/")] == before

    @pytest.mark.parametrize("job", ["", ".", "..", "a/b", "../x", "a\0b", "job"])
    def test_a_hostile_job_id_is_refused(self, destination: Destination, job: str) -> None:
        for call in (
            lambda: destination.prepare(job),
            lambda: destination.part_name(job, "stem"),
            lambda: destination.sweep(job, frozenset()),
            lambda: destination.forget(job),
            lambda: destination.put(job, "manifest.json", DATA),
        ):
            with pytest.raises(RequestError):
                call()
        assert self.names(destination) == []

    def test_a_finished_file_cannot_be_hidden(self, destination: Destination) -> None:
        destination.prepare(JOB)
        with pytest.raises(RequestError):
            destination.put(JOB, ".fhirferry/x", DATA)
        with pytest.raises(RequestError):
            destination.forget(JOB, [".fhirferry/x"])
        if destination.renames:
            with pytest.raises(RequestError):
                destination.publish(self.write(destination, "a"), ".fhirferry/x")

    # Whole or not there

    def test_what_is_committed_and_published_is_read_back(self, destination: Destination) -> None:
        destination.prepare(JOB)
        part = destination.part_name(JOB, "a")
        writer = destination.create(part)
        writer.write(b"one\n")
        writer.write(memoryview(b"x two\n")[2:])
        writer.write(b"")
        writer.commit()
        name = "Patient-1.ndjson" if destination.renames else part
        destination.publish(part, name)
        destination.sync()
        assert self.body(self.again(destination), name) == b"one\ntwo\n"
        assert self.names(destination) == [name]

    def test_s65_folders_come_with_what_is_published_in_them_and_go_with_it(self, destination: Destination) -> None:
        if not destination.renames:
            pytest.skip("nothing is renamed here")
        destination.prepare(JOB)
        names = [
            "data/Patient/Patient-1.ndjson",
            "data/Patient/Patient-2.ndjson",
            "data/Observation/x/Observation-1.ndjson",
        ]
        for number, name in enumerate(names):
            part = self.write(destination, str(number))
            destination.publish(part, name)
            destination.publish(part, name)
        destination.sync()
        assert self.names(self.again(destination)) == sorted(names)
        assert [stored.name for stored in destination.list("data/P")] == names[:2]
        destination.put(JOB, "manifest.json", DATA)
        destination.sweep(JOB, frozenset())
        destination.forget(JOB, ["manifest.json", *names])
        assert self.names(destination) == []
        destination.prepare(OTHER)  # nothing is left of it: neither its mark nor its names, as files or folders
        destination.put(OTHER, "data", DATA)

    @pytest.mark.parametrize("ending", ["aborted", "dropped"])
    def test_an_unfinished_file_is_never_visible(self, destination: Destination, ending: str) -> None:
        destination.prepare(JOB)
        writer = destination.create(destination.part_name(JOB, "a"))
        writer.write(DATA)
        try:
            assert self.names(self.again(destination)) == []
            if ending == "aborted":
                writer.abort()
                assert self.names(destination, ".fhirferry/" + JOB) == []
            else:
                destination.sweep(JOB, frozenset())
                assert self.names(destination) == self.names(destination, ".fhirferry/" + JOB) == []
        finally:
            writer.abort()

    def test_abort_is_idempotent_and_harmless_after_commit(self, destination: Destination) -> None:
        destination.prepare(JOB)
        part = destination.part_name(JOB, "a")
        writer = destination.create(part)
        writer.write(DATA)
        writer.commit()
        writer.abort()
        writer.abort()
        assert self.body(destination, part) == DATA
        gone = destination.create(destination.part_name(JOB, "b"))
        gone.abort()
        gone.abort()
        for call in (gone.commit, lambda: gone.write(DATA), writer.commit):
            with pytest.raises(PermanentError):
                call()

    def test_a_part_name_is_used_once(self, destination: Destination) -> None:
        destination.prepare(JOB)
        part = self.write(destination, "a")
        with pytest.raises(PermanentError):
            destination.create(part)
        assert self.body(destination, part) == DATA

    @pytest.mark.parametrize("suffix", [".ndjson", ".ndjson.gz"])
    def test_l15_a_part_of_a_place_without_renames_has_its_folders_the_jobs_mark_and_its_suffix(
        self, destination: Destination, suffix: str
    ) -> None:
        destination.prepare(JOB)
        part = destination.part_name(JOB, "deleted/Bundle-3-0123abcd", suffix)
        if destination.renames:
            assert part == f".fhirferry/{JOB}/Bundle-3-0123abcd.part"
        else:
            assert part == f"deleted/Bundle-3-0123abcd-{JOB}{suffix}"
        writer = destination.create(part)
        writer.write(DATA)
        writer.commit()
        assert self.body(self.again(destination), part) == DATA
        assert list(destination.sweep("b5c6e1a", frozenset())) == []
        assert list(destination.sweep(JOB, frozenset())) == [part]

    def test_only_parts_are_created(self, destination: Destination) -> None:
        destination.prepare(JOB)
        with pytest.raises(RequestError):
            destination.create("Patient-1.ndjson")

    @pytest.mark.parametrize("forgotten", [False, True])
    def test_a_late_unit_of_a_removed_job_fails(self, destination: Destination, forgotten: bool) -> None:
        """Design section 7: `create` makes no folder."""
        destination.prepare(JOB)
        part = destination.part_name(JOB, "late")
        destination.sweep(JOB, frozenset())
        if forgotten:
            destination.forget(JOB)
        with pytest.raises(PermanentError):
            destination.create(part)
        assert self.names(destination, f".fhirferry/{JOB}/") == []

    def test_a_commit_after_the_sweep_leaves_nothing_visible(self, destination: Destination) -> None:
        destination.prepare(JOB)
        writer = destination.create(destination.part_name(JOB, "late"))
        writer.write(DATA)
        destination.sweep(JOB, frozenset())
        destination.forget(JOB)
        with suppress(PermanentError):
            writer.commit()
        writer.abort()
        assert self.names(destination) == self.names(destination, ".fhirferry/") == []

    # Publishing

    def test_publish_is_idempotent(self, destination: Destination) -> None:
        destination.prepare(JOB)
        part = self.write(destination, "a")
        name = "deleted/Bundle-1.ndjson" if destination.renames else part
        for where in (destination, self.again(destination)):
            where.publish(part, name)
            where.sync()
        assert self.body(destination, name) == DATA
        assert self.names(destination, ".fhirferry/" + JOB) == []

    def test_publish_is_idempotent_after_the_sweep(self, destination: Destination) -> None:
        destination.prepare(JOB)
        part = self.write(destination, "a")
        name = "Patient-1.ndjson" if destination.renames else part
        destination.publish(part, name)
        destination.sweep(JOB, frozenset({name}))
        destination.publish(part, name)
        assert self.body(destination, name) == DATA

    def test_publishing_what_is_lost_is_permanent(self, destination: Destination) -> None:
        destination.prepare(JOB)
        with pytest.raises(PermanentError, match=r"Patient-1\.ndjson"):
            destination.publish(destination.part_name(JOB, "a"), "Patient-1.ndjson")

    def test_publish_never_overwrites_another_file(self, destination: Destination) -> None:
        if not destination.renames:
            pytest.skip("nothing is renamed here")
        destination.prepare(JOB)
        destination.put(JOB, "Patient-1.ndjson", b"foreign\n")
        part = self.write(destination, "a")
        with pytest.raises(PermanentError):
            destination.publish(part, "Patient-1.ndjson")
        assert self.body(destination, "Patient-1.ndjson") == b"foreign\n"
        assert self.body(destination, part) == DATA

    # Reading and listing

    def test_list_is_by_name_and_hides_what_is_unfinished(self, destination: Destination) -> None:
        destination.prepare(JOB)
        for name in ("b.txt", "a/z.txt", "a.txt", "a/b/c.txt"):
            destination.put(JOB, name, name.encode())
        part = self.write(destination, "hidden")
        every = sorted(["a.txt", "a/b/c.txt", "a/z.txt", "b.txt", *([] if destination.renames else [part])])
        assert self.names(destination) == every
        assert self.names(destination, "a") == ["a.txt", "a/b/c.txt", "a/z.txt"]
        assert self.names(destination, "a/") == ["a/b/c.txt", "a/z.txt"]
        assert self.names(destination, "a/b/c.t") == ["a/b/c.txt"]
        assert self.names(destination, "nothing") == []
        if destination.renames:
            assert self.names(destination, f".fhirferry/{JOB}/") == [part]

    def test_list_and_stat_of_an_unprepared_place_are_empty(self, destination: Destination) -> None:
        assert self.names(destination) == []
        assert destination.stat("manifest.json") is None
        destination.delete(["manifest.json"])
        assert list(destination.sweep(JOB, frozenset())) == []
        destination.forget(JOB)

    def test_stat(self, destination: Destination) -> None:
        destination.prepare(JOB)
        destination.put(JOB, "a/x.json", b"12345")
        stored = destination.stat("a/x.json")
        assert stored is not None
        assert (stored.name, stored.bytes) == ("a/x.json", 5)
        assert stored.modified > 10**15
        assert destination.stat("a/y.json") is None
        assert destination.stat("a") is None

    def test_read_gives_ranges_in_chunks_of_a_mebibyte(self, destination: Destination) -> None:
        destination.prepare(JOB)
        data = bytes(range(256)) * (10 * MIB // 1024) + b"end"
        name = self.published(destination, "Patient-1.ndjson", data)
        chunks = list(destination.read(name))
        assert b"".join(chunks) == data
        assert max(map(len, chunks)) <= MIB
        for offset, length in (
            (0, 0),
            (0, 1),
            (7, 2 * MIB),
            (len(data) - 3, None),
            (len(data) - 3, 99),
            (len(data), 1),
        ):
            expected = data[offset:] if length is None else data[offset : offset + length]
            assert b"".join(destination.read(name, offset, length)) == expected
        assert list(destination.read(name, len(data) + 5)) == []
        for offset, length in ((-1, None), (0, -1)):
            with pytest.raises(RequestError):
                list(destination.read(name, offset, length))

    def test_reading_what_is_not_there_is_a_request_error(self, destination: Destination) -> None:
        destination.prepare(JOB)
        destination.put(JOB, "a/b.json", DATA)
        for name in ("none", "none/b.json", "a"):
            with pytest.raises(RequestError):
                list(destination.read(name))

    # Small files

    def test_put_replaces(self, destination: Destination) -> None:
        destination.prepare(JOB)
        destination.put(JOB, "manifest.json", b"a long first one")
        destination.put(JOB, "manifest.json", b"second")
        assert self.body(self.again(destination), "manifest.json") == b"second"
        assert self.names(destination) == ["manifest.json"]

    @pytest.mark.parametrize("ending", ["never prepared", "swept", "forgotten", "another's place"])
    def test_l15_a_put_of_a_job_that_is_not_here_fails_and_touches_nothing(
        self, destination: Destination, ending: str
    ) -> None:
        late = JOB
        if ending == "never prepared":
            late = OTHER
            destination.prepare(JOB)
        else:
            destination.prepare(JOB)
            destination.put(JOB, "manifest.json", b"late")
            destination.sweep(JOB, frozenset())
        if ending in ("forgotten", "another's place"):
            destination.forget(JOB, ["manifest.json"])
        if ending == "another's place":
            destination.prepare(OTHER)
            destination.put(OTHER, "manifest.json", DATA)
        before = {name: self.body(destination, name) for name in self.names(destination)}
        with pytest.raises(PermanentError):
            self.again(destination).put(late, "manifest.json", b"late once more")
        assert {name: self.body(destination, name) for name in self.names(destination)} == before
        assert self.names(destination, f".fhirferry/{late}/") == []

    # Removing

    def test_delete_is_idempotent_and_leaves_neighbours(self, destination: Destination) -> None:
        destination.prepare(JOB)
        for name in ("deleted/a.json", "deleted/b.json", "a.json", "ab.json"):
            destination.put(JOB, name, DATA)
        for _ in range(2):
            destination.delete(["deleted/a.json", "a.json", "never.json", "never/there.json"])
            assert self.names(destination) == ["ab.json", "deleted/b.json"]

    def test_a_running_job_goes_on_after_its_parts_were_deleted(self, destination: Destination) -> None:
        destination.prepare(JOB)
        destination.delete([self.write(destination, "a")])
        assert self.body(destination, self.write(destination, "b")) == DATA

    def test_sweep_removes_the_jobs_parts_but_those_kept(self, destination: Destination) -> None:
        destination.prepare(JOB)
        destination.put(JOB, "manifest.json", DATA)
        keep, *drop = (self.write(destination, stem) for stem in ("keep", "drop-1", "drop-2"))
        assert list(destination.sweep(OTHER, frozenset())) == []
        assert sorted(destination.sweep(JOB, frozenset({keep}))) == drop
        assert list(destination.sweep(JOB, frozenset({keep}))) == []
        assert self.body(destination, keep) == DATA
        assert self.body(destination, "manifest.json") == DATA
        assert self.body(destination, self.write(destination, "later")) == DATA

    def test_prepare_after_a_sweep_opens_the_job_again(self, destination: Destination) -> None:
        destination.prepare(JOB)
        destination.sweep(JOB, frozenset())
        destination.prepare(JOB)
        assert self.body(destination, self.write(destination, "a")) == DATA

    # Whose place it is

    def test_prepare_is_idempotent_for_the_same_job(self, destination: Destination) -> None:
        destination.prepare(JOB)
        part = self.write(destination, "a")
        name = self.published(destination, "Patient-1.ndjson", b"published\n")
        again = self.again(destination)
        again.prepare(JOB)
        again.check(JOB)
        assert self.body(again, part) == DATA
        assert self.body(again, name) == b"published\n"

    def test_a_place_of_another_job_is_refused_and_stays_as_it_is(self, destination: Destination) -> None:
        destination.prepare(JOB)
        name = self.published(destination, "Patient-1.ndjson")
        again = self.again(destination)
        calls: list[Callable[[], object]] = [lambda: again.prepare(OTHER), lambda: again.check(OTHER), again.check]
        for call in calls:
            with pytest.raises(FolderInUse, match=f"fhirferry jobs delete {JOB}"):
                call()
        destination.prepare(JOB)
        assert self.body(destination, name) == DATA

    @pytest.mark.parametrize(
        "name", ["manifest.json", "SHA256SUMS", "Patient-1.ndjson", "Patient.ndjson.gz", "Patient.NDJSON"]
    )
    def test_files_of_a_forgotten_export_are_refused(self, destination: Destination, name: str) -> None:
        destination.prepare(JOB)
        destination.put(JOB, name, DATA)
        destination.forget(JOB)
        calls: list[Callable[[], object]] = [
            lambda: destination.prepare(OTHER),
            lambda: destination.check(OTHER),
            destination.check,
        ]
        for call in calls:
            with pytest.raises(FolderInUse, match=name):
                call()

    def test_unrelated_files_are_tolerated_and_stay(self, destination: Destination) -> None:
        destination.prepare(JOB)
        destination.put(JOB, "README.txt", b"mine")
        destination.forget(JOB)
        destination.check(OTHER)
        destination.prepare(OTHER)
        destination.sweep(OTHER, frozenset())
        assert self.body(destination, "README.txt") == b"mine"

    def test_forget_is_the_owners_alone_and_idempotent(self, destination: Destination) -> None:
        destination.prepare(JOB)
        destination.forget(OTHER)
        with pytest.raises(FolderInUse):
            destination.check(OTHER)
        destination.sweep(JOB, frozenset())
        destination.forget(JOB)
        destination.forget(JOB)
        destination.prepare(OTHER)
        destination.check(OTHER)

    def test_forget_takes_the_names_with_it_where_the_place_is_the_jobs(self, destination: Destination) -> None:
        destination.prepare(JOB)
        for name in ("manifest.json", "deleted/a.json", "mine.txt"):
            destination.put(JOB, name, DATA)
        names = ["manifest.json", "deleted/a.json", "never.json"]
        destination.forget(OTHER, names)
        assert self.names(destination) == ["deleted/a.json", "manifest.json", "mine.txt"]
        destination.sweep(JOB, frozenset())
        destination.forget(JOB, names)
        assert self.names(destination) == ["mine.txt"]
        destination.prepare(OTHER)
        destination.put(OTHER, "manifest.json", DATA)
        self.again(destination).forget(JOB, names)
        assert self.names(destination) == ["manifest.json", "mine.txt"]
        with pytest.raises(FolderInUse):
            destination.prepare(JOB)

    def test_a_mark_that_a_dead_process_left_is_the_jobs_until_it_is_forgotten(self, destination: Destination) -> None:
        """The job was deleted, and its clean-up comes from another process, which never prepared the place."""
        destination.prepare(JOB)
        part = self.write(destination, "a")
        later = self.again(destination)
        assert list(later.sweep(JOB, frozenset())) == [part]
        assert list(later.sweep(JOB, frozenset())) == []
        calls: list[Callable[[], object]] = [later.check, lambda: later.prepare(OTHER)]
        for call in calls:
            with pytest.raises(FolderInUse, match=JOB):
                call()
        later.check(JOB)
        with pytest.raises(PermanentError):
            later.create(part)
        later.forget(JOB)
        assert [*self.names(later), *self.names(later, ".fhirferry/")] == []
        later.check()
        later.prepare(OTHER)
        assert self.body(later, self.write(later, "b", job=OTHER)) == DATA

    def test_a_mark_that_is_forgotten_before_its_parts_are_swept_frees_the_place_and_the_parts_go_later(
        self, destination: Destination
    ) -> None:
        if not destination.renames:
            pytest.skip("a part is in sight here, and refused to another job")
        destination.prepare(JOB)
        part = self.write(destination, "a")
        later = self.again(destination)
        later.forget(JOB)
        later.prepare(OTHER)
        kept = self.write(later, "b", job=OTHER)
        assert list(later.sweep(JOB, frozenset())) == [part]
        later.forget(JOB)
        assert self.body(later, kept) == DATA
        later.check(OTHER)
        with pytest.raises(FolderInUse):
            later.check(JOB)

    def test_close_is_idempotent(self, destination: Destination) -> None:
        with closing(self.again(destination)) as other:
            other.close()
            assert other.free_bytes() is None or other.free_bytes()
