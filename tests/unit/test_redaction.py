"""Redaction: what it must hide, and what it must leave readable."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecoder_cgpu.system.redaction import betrayed, hide, redact, spellings, words

# `*` is what secrets are replaced by.
SECRETS = st.text(st.characters(exclude_characters="*"), min_size=6, max_size=30)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children) | st.tuples(children, children),
    max_leaves=8,
)


def leaves(value: Any) -> list[str]:
    """Every string in `value`, keys included."""
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (*leaves(key), *leaves(item))]
    if isinstance(value, list):
        return [text for item in value for text in leaves(item)]
    return [value] if isinstance(value, str) else []


@given(SECRETS, TREES, st.text(), st.text())
def test_a_protected_secret_never_survives(secret: str, tree: Any, before: str, after: str) -> None:
    """In a string, a key, a list, an object or bytes, however deep, plain, percent-encoded or escaped."""
    known = spellings([secret])
    shapes: list[Any] = [before + spelling + after for spelling in known]
    shapes += [{spelling: tree} for spelling in known] + [
        (secret, {secret}),
        secret.encode("utf-8", "surrogatepass"),
        Path("/x") / secret,
    ]
    for value in (*shapes, {"deep": [[{"x": shapes[0]}, tree]]}):
        result = redact(value, known)
        msgspec.json.encode(result)  # whatever went in, it can be written down
        for text in leaves(result):
            assert secret not in text


def test_a_secret_is_hidden_however_a_program_spells_it() -> None:
    """As Python and JSON escape it, and each line of it that says enough."""
    secret = 'p@ss "w\\\\ord\nsecond line é'
    for text in (repr(secret), ascii(secret), json.dumps(secret), "x second line é y"):
        assert "second line" not in redact(text, spellings([secret]))


@given(TREES)
def test_everything_becomes_plain_json(tree: Any) -> None:
    """Any value can be written down afterwards, with a secret to look for or without."""
    msgspec.json.encode(redact(tree))
    msgspec.json.encode(redact(tree, ["12"]))


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer L34K-value",
        "authorization: token L34K",
        "Authorization: Digest a=1, response=L34K",
        "{'Authorization': 'Bearer L34K', 'Accept': 'x'}",
        r"{\"authorization\": \"Basic L34K==\"}",
        "('authorization', b'Bearer L34K')",
        "[(b'Authorization', b'token L34K')]",
        "Cookie: a=b; sid=L34K; c=L34K",
        "set-cookie: x=L34K",
        "Bearer L34K.and-more",
        "using token abcL34K1234",
        "token: L34K",
        '{"token": "L34K"}',
        '{"refreshToken":"L34K"}',
        r"{\"client_secret\": \"L34K\"}",
        "password=L34K",
        "passphrase: L34K",
        "HF_TOKEN=L34K",
        "AWS_SECRET_ACCESS_KEY=L34K/x+y",
        "api_key='L34K x'",
        "http://h/?token=L34K",
        "http://h/p?a=1&access_token=L34K,L34K#x",
        "http://h/#access_token=L34K",
        "https://x.blob.core.windows.net/n.ipynb?sv=2024&sig=L34K%3D",
        "https://b.s3.amazonaws.com/n?X-Amz-Signature=L34K&X-Amz-Date=1",
        "http://h/cb?code=4/L34K&state=x",
        "https://user:pa,L34K@host/",
        "https://L34K@host/x",
        "wss://u:L34K@b@host/",
        "ya29.a0L34K_x-y",
        "1//0gL34Kabcdefghij",
        "GOCSPX-L34K-x",
        "hf_abcdefghL34K",
        "sk-proj-abcdefL34Kabcdef",
        "ghp_abcdefghL34Kabcd",
        "github_pat_11ABCDEL34Kabcdef",
        "AKIAIOSFODNN7L34K",
        "AIzaSyA-L34Kabcdefghijklmnop",
        "eyJhbGciOiJI.eyJL34K.L34K_x",
        "-----BEGIN PRIVATE KEY-----\nL34K\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nL34K",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    """Headers, parameters, assignments, URLs and tokens with a look of their own lose their values, in any place."""
    for around in (text, f"it failed: {text}", f"first\n{text}\nlast"):
        assert "L34K" not in redact(around), redact(around)
        assert "L34K" not in str(redact({"data": [{"text": around}]}))


@pytest.mark.parametrize(
    "key",
    ["token", "Authorization", "refreshToken", "clientSecret", "cookie", "password", "api_key", "X-XSRFToken", "auth"],
)
def test_values_under_telling_keys_are_hidden(key: str) -> None:
    """Under such a key nothing is shown, whatever its type."""
    for value in ("x", ["x"], {"a": "x"}, 7):
        assert redact({"outer": [{key: value}]}) == {"outer": [{key: "***"}]}


@pytest.mark.parametrize(
    "text",
    [
        "risk-assessment-model",
        "disk-usage-report-2026-01",
        "GET http://127.0.0.1:8888/api/kernels/5f0d-1?x=1",
        "",
        "the token is missing",
        "no token supplied",
        "/home/user/project/train.py",
        "mail me@example.org",
        "exit status 1",
        "ValueError: invalid literal for int() with base 10: 'x'",
    ],
)
def test_ordinary_text_stays_readable(text: str) -> None:
    """Paths, addresses, prose and error messages are not touched."""
    assert redact(text) == text


def test_numbers_and_flags_stay_what_they_are() -> None:
    """JSON values keep their types, and keys that only sound like a secret keep their values."""
    value = {"status": 404, "ms": 1.5, "ok": True, "none": None, "tokenExpires": 5, "max_tokens": 9, "token": ""}
    assert redact(value) == value
    assert redact({"pin": 123456, "ok": True}, ["123456"]) == {"pin": "***", "ok": True}


@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "://",
        "a@",
        "token ",
        "eyJaaaaaaaa-",
        "Bearer",
        "authorization:",
        "-----BEGIN ",
        "?token",
        " \t",
        "login x ",
        "-u a",
    ],
)
def test_large_texts_are_no_trap(piece: str) -> None:
    """Half a megabyte made to confuse the patterns is dealt with; work that grows with the square would never end."""
    assert redact(piece * (500_000 // len(piece)))


@pytest.mark.parametrize(
    "command",
    [
        "curl -u ada:PW https://h/x",
        "curl --user ada:PW https://h/x",
        "sshpass -p PW ssh h",
        "sshpass -pPW ssh h",
        "docker login -u ada -p PW registry",
        "tool --pass PW",
        "tool --auth PW",
        "tool AccountKey=PW",
    ],
)
def test_passwords_of_well_known_commands(command: str) -> None:
    """As one text and as words; other words of the command stay."""
    assert "PW" not in hide(command)
    assert "PW" not in " ".join(words(command.split()))
    harmless = "git log -p; docker run -u 1000 -p 80:80 x; python t.py --pass-through 3"
    assert hide(harmless) == harmless
    assert words(harmless.split()) == harmless.split()


@pytest.mark.parametrize(
    "line",
    [
        "mysql -u root -pL34K db", "sudo mysqldump -uroot -pL34K db", "mariadb '-pL34K x' db", "7z x -pL34K a.7z",
        "mysql --password=L34K db", "curl -u ann:L34K https://h/", "curl -uann:L34K h", "curl -U ann:L34K h",
        "curl --user=ann:L34K h", "curl --oauth2-bearer L34K h", "curl -b L34K h", "curl --cookie a=L34K h",
        "curl https://ann:L34K@h/x", "git clone https://L34K@h/x.git", "redis-cli -a L34K ping", "redis-cli -aL34K",
        "mongosh -u ann -p L34K", "twine upload -u ann -p L34K x", "az login -u ann -p L34K", "docker login -pL34K r",
        "sshpass -p L34K ssh h", "sqlcmd -PL34K", "unzip -P L34K a.zip", "ldapsearch -x -w L34K", "http -a ann:L34K h",
        "openssl enc -aes256 -k L34K", "smbclient -U ann%L34K //h/s", "wandb login L34K", "vault login L34K",
        "aws configure set aws_secret_access_key L34K", "kaggle config set -n key -v L34K", "sqlplus ann/L34K@db",
        "htpasswd -b file ann L34K", "python t.py --db-pwd L34K", "python t.py --pwd=L34K", "npm x --_auth=L34K",
        "/usr/bin/mysql -pL34K", "python t.py --credentials L34K", "PGPASSWORD=L34K psql", "wget --password=L34K h",
    ],
)  # fmt: skip
def test_passwords_in_commands(line: str) -> None:
    """As one text, and as words: the password is hidden, and what the command is stays."""
    for shown in (hide(line), " ".join(words(shlex.split(line)))):
        assert "L34K" not in shown
        assert "***" in shown
        assert shown.startswith(line.split(" ")[0].split("=")[0])


@pytest.mark.parametrize(
    "line",
    [
        "mysql -p shop", "mkdir -p data", "ssh -p 2222 h", "docker run -p 8080:80 x", "cp -a src dst", "tar -P x.tar",
        "python login.py -p 3", "curl -o x https://h/", "sort -k 2 f", "make -k all", "run -u root", "http GET h/x",
    ],
)  # fmt: skip
def test_other_commands_stay_as_they_are(line: str) -> None:
    assert hide(line) == line
    assert words(line.split()) == line.split()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("x @ git+https://0123456789abcdef0@h/x.git", ["0123456789abcdef0"]),
        ("git clone https://me:s3cretpw@h/x", ["me:s3cretpw", "s3cretpw"]),
        ("curl 'https://h/x?sig=abc%2Bdef0'", ["abc%2Bdef0"]),
        ("curl -H 'Authorization: Bearer abcdefgh1'", ["Bearer abcdefgh1", "abcdefgh1"]),
        ("t --password hunter2hunter", ["hunter2hunter"]),
        ("psql postgres://postgres@h; ssh ssh://somebody-1@h", []),
        ("token = tokenizer.encode(text); password = os.environ['A']; secret = getpass", []),
        ("t --password short", []),
    ],
)  # fmt: skip
def test_values_that_a_command_betrays(command: str, expected: list[str]) -> None:
    """They are hidden in what it prints, too, unless they may be ordinary words."""
    assert betrayed(command) == expected
