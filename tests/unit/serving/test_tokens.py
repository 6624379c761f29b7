from __future__ import annotations

from pathlib import Path

import pytest

from torchkiln.errors import InputError
from torchkiln.serving.refusal import Refusal
from torchkiln.serving.tokens import Tokens

READER, ADMIN, SLOW = "reader-0123456789", "admin-0123456789a", "slow-0123456789ab"
FILE = f"# who may ask\n{READER}\n{ADMIN} predict,admin\n{SLOW} predict 2 # twice a second\n\n"


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "tokens"
    file.write_text(text)
    file.chmod(mode)
    return file


def status(tokens: Tokens, header: bytes | None, right: str) -> int:
    try:
        tokens.check(header, right)
    except Refusal as refused:
        return refused.status
    return 200


def test_rights(tmp_path: Path) -> None:
    tokens = Tokens.read(written(tmp_path, FILE))
    bearer = {name: f"Bearer {name}".encode() for name in (READER, ADMIN)}
    assert [status(tokens, bearer[READER], r) for r in ("predict", "admin")] == [200, 403]
    assert [status(tokens, bearer[ADMIN], r) for r in ("predict", "admin")] == [200, 200]
    for header in (None, b"", b"Bearer", b"Bearer x", b"Basic " + READER.encode(), READER.encode()):
        assert status(tokens, header, "predict") == 401


def test_the_token_itself_is_not_kept(tmp_path: Path) -> None:
    assert READER not in repr(Tokens.read(written(tmp_path, FILE)).known)


def test_a_rate(tmp_path: Path) -> None:
    tokens = Tokens.read(written(tmp_path, FILE))
    assert [status(tokens, f"Bearer {SLOW}".encode(), "predict") for _ in range(4)] == [200, 200, 429, 429]
    slow = tokens.known[2]
    assert slow.spend(slow._at + 0.5) and not slow.spend(slow._at)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no token"),
        ("short", "at least 16"),
        (f"{READER} write", "'write' is none of the rights"),
        (f"{READER} predict often", "'often' is no rate"),
        (f"{READER} predict -1", "no rate"),
        (f"{READER} predict 1 2", "'2'"),
    ],
)
def test_wrong_lines_are_named(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why) as error:
        Tokens.read(written(tmp_path, text))
    assert READER not in str(error.value)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="chmod 600"):
        Tokens.read(written(tmp_path, FILE, 0o644))
    with pytest.raises(InputError, match="cannot be read"):
        Tokens.read(tmp_path / "none")
