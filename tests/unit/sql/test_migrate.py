import shutil
from pathlib import Path

import apsw
import pytest

from skerry.errors import StoreUnavailable
from skerry.sql.migrate import MIGRATIONS, migrate
from skerry.sql.sqlite import SqliteDatabase


def script(folder: Path, number: int, sql: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{number:04}_step.sql").write_text(sql)
    return folder


def tables(path: Path) -> set[str]:
    sql = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    return {row[0] for row in apsw.Connection(str(path)).execute(sql)}


def test_migrations_are_numbered_without_gaps():
    numbers = sorted(int(file.name[:4]) for file in MIGRATIONS.glob("*.sql"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_statement_of_a_script_runs_also_after_one_that_returns_rows(tmp_path):
    steps = script(
        tmp_path / "m", 1, "CREATE TABLE a (x); SELECT 1; PRAGMA user_version; CREATE TABLE b (x);"
    )
    migrate(tmp_path / "a.db", migrations=steps)
    assert {"a", "b"} <= tables(tmp_path / "a.db")


def test_later_steps_run_once_and_keep_the_data(tmp_path):
    steps = script(tmp_path / "m", 1, "CREATE TABLE a (x); INSERT INTO a VALUES (1);")
    migrate(tmp_path / "a.db", migrations=steps)
    script(steps, 2, "ALTER TABLE a ADD COLUMN y DEFAULT 2;")
    migrate(tmp_path / "a.db", migrations=steps)
    migrate(tmp_path / "a.db", migrations=steps)
    assert apsw.Connection(str(tmp_path / "a.db")).execute("SELECT * FROM a").fetchall() == [(1, 2)]


def test_step_that_fails_is_undone_as_a_whole(tmp_path):
    steps = script(tmp_path / "m", 1, "CREATE TABLE a (x);")
    script(steps, 2, "CREATE TABLE b (x); CREATE TABLE a (x);")
    with pytest.raises(Exception, match="already exists"):
        migrate(tmp_path / "a.db", migrations=steps)
    assert tables(tmp_path / "a.db") == {"a"}
    script(steps, 2, "CREATE TABLE b (x);")
    migrate(tmp_path / "a.db", migrations=steps)
    assert tables(tmp_path / "a.db") == {"a", "b"}


async def test_newer_format_is_refused_naming_both_versions(tmp_path):
    db = SqliteDatabase(tmp_path / "a.db")
    await db.write(lambda tx: list(tx.execute("PRAGMA user_version = 99")))
    await db.close()
    latest = len(list(MIGRATIONS.glob("*.sql")))
    with pytest.raises(StoreUnavailable, match=f"format 99; .* up to {latest}") as caught:
        SqliteDatabase(tmp_path / "a.db")
    assert "newer Skerry" in caught.value.remedy


def test_database_of_another_program_is_left_alone(tmp_path):
    other = apsw.Connection(str(tmp_path / "a.db"))
    other.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreUnavailable, match="another program"):
        SqliteDatabase(tmp_path / "a.db")
    assert tables(tmp_path / "a.db") == {"theirs"}


async def test_two_databases_have_two_epochs_and_one_keeps_its_own(tmp_path):
    def epoch(db: SqliteDatabase) -> str:
        return str(db.read("SELECT value FROM meta WHERE name = 'epoch'")[0][0])

    first, second = SqliteDatabase(tmp_path / "a.db"), SqliteDatabase(tmp_path / "b.db")
    before = epoch(first)
    assert len(before) == 32 and before != epoch(second)
    await first.close()
    await second.close()
    again = SqliteDatabase(tmp_path / "a.db")
    assert epoch(again) == before
    await again.close()


def test_database_of_format_1_keeps_its_active_space_and_gains_one_per_kind(tmp_path):
    (tmp_path / "old").mkdir()
    shutil.copy(MIGRATIONS / "0001_foundation.sql", tmp_path / "old")
    migrate(tmp_path / "a.db", migrations=tmp_path / "old")
    connection = apsw.Connection(str(tmp_path / "a.db"))
    connection.execute("INSERT INTO spaces VALUES ('lite2', 'm', 8, 'active', 1)")
    connection.close()
    migrate(tmp_path / "a.db")
    connection = apsw.Connection(str(tmp_path / "a.db"))
    assert connection.execute("SELECT * FROM spaces").fetchall() == [
        ("lite2", "m", 8, "active", 1, "image")
    ]
    connection.execute("INSERT INTO spaces VALUES ('minilm', 'm', 8, 'active', 1, 'chunk')")
    with pytest.raises(apsw.ConstraintError, match="kind"):
        connection.execute("INSERT INTO spaces VALUES ('other', 'm', 8, 'active', 1, 'chunk')")
