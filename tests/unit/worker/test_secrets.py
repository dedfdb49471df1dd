from __future__ import annotations

from pathlib import Path

import pytest

from foliot_worker.secrets import SecretError, Secrets
from foliot_worker.settings import without_secrets


def test_variables_come_before_files(tmp_path: Path) -> None:
    (tmp_path / "db.password").write_bytes(b"from file\r\n")
    (tmp_path / "other").write_text("two\nlines\n")
    secrets = Secrets({"FOLIOT_SECRET_DB_PASSWORD": "from variable", "DB_PASSWORD": "no"}, tmp_path)
    assert secrets.resolve("secret://db.password") == "from variable"
    assert secrets.resolve("secret://other") == "two\nlines"
    assert Secrets({}, tmp_path).resolve("secret://db.password") == "from file"
    assert secrets.expanded("plain") == "plain"
    assert secrets.expanded("secret://db-password") == "from variable"


def test_a_file_that_changed_counts_at_once(tmp_path: Path) -> None:
    secrets = Secrets({}, tmp_path)
    for value in ("old", "new"):
        (tmp_path / "name").write_text(value)
        assert secrets.resolve("secret://name") == value


@pytest.mark.parametrize(
    "reference", ["secret://", "secret://../x", "secret://a/b", "secret://.hidden", "secret://a b", "plain", "secret://é"]
)
def test_names_stay_inside_the_directory(tmp_path: Path, reference: str) -> None:
    (tmp_path.parent / "x").write_text("outside")
    with pytest.raises(SecretError):
        Secrets({}, tmp_path).resolve(reference)


def test_what_is_missing_or_unreadable_is_named_without_a_value(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    for name in ("missing", "folder", "binary", "large"):
        with pytest.raises(SecretError, match=name):
            Secrets({}, tmp_path).resolve(f"secret://{name}")
    with pytest.raises(SecretError, match="no secret absent"):
        Secrets({}, None).resolve("secret://absent")


def test_secrets_are_kept_from_the_settings() -> None:
    assert without_secrets({"FOLIOT_SECRET_A": "x", "FOLIOT_SCHEDULER": "h:1"}) == {"FOLIOT_SCHEDULER": "h:1"}
