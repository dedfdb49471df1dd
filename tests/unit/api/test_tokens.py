"""Tokens: who they stand for, and each way in which one is not to be trusted."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from foliot.kit.clock import ManualClock
from foliot_scheduler.api import key_sets
from foliot_scheduler.api.credentials import AUTHORIZATION_CHARS_MAX, Authenticator
from foliot_scheduler.api.key_sets import KeySet, parse_key_set
from foliot_scheduler.api.tokens import LEEWAY_US, FindKey, OneSecret, TokenChecker
from foliot_scheduler.core.access import Role
from foliot_scheduler.core.types import Project

SECRET = b"s" * 32
CLOCK = ManualClock()
NOW = CLOCK.now_us() // 1_000_000
CLAIMS: dict[str, Any] = {"sub": "ada", "project_id": "acme", "role": "operator", "exp": NOW + 60}
LEEWAY = LEEWAY_US // 1_000_000

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def rsa_jwk(key: rsa.RSAPrivateKey = RSA_KEY, **more: Any) -> dict[str, Any]:
    return {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), **more}


def ec_jwk(key: ec.EllipticCurvePrivateKey = EC_KEY, **more: Any) -> dict[str, Any]:
    return {**json.loads(ECAlgorithm.to_jwk(key.public_key())), **more}


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def signed(claims: dict[str, Any] | None = None, *, without: str = "", header: dict[str, Any] | None = None, **more: Any) -> str:
    kept = {name: value for name, value in {**(claims or CLAIMS), **more}.items() if name != without}
    return jwt.encode(kept, SECRET, "HS256", headers=header)


def checker(keys: FindKey | None = None, **more: Any) -> TokenChecker:
    return TokenChecker(keys or OneSecret(SECRET), CLOCK, **more)


def part(text: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(text).encode()).decode().rstrip("=")


class Published:
    """A key set as an issuer publishes it: what it answers can change, and it counts how often it is asked."""

    def __init__(self, *keys: dict[str, Any], clock: ManualClock = CLOCK) -> None:
        self.body = key_set(*keys)
        self.status = 200
        self.asked = 0
        self.set = KeySet("https://issuer.test/jwks", clock, transport=httpx.MockTransport(self._answer))

    def _answer(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.status == 0:
            raise httpx.ConnectError("nobody is there")
        return httpx.Response(self.status, content=self.body)


async def test_a_good_token_says_who_calls() -> None:
    caller = await checker().check(signed())
    assert caller is not None
    assert (caller.subject, caller.project, caller.role) == ("ada", Project("acme"), Role.OPERATOR)
    assert caller.expires == (NOW + 60) * 1_000_000 + LEEWAY_US


async def test_the_other_names_of_claims() -> None:
    caller = await checker().check(signed({"user_id": "u", "team_id": "t", "roles": ["viewer"], "exp": NOW + 1}))
    assert caller is not None
    assert (caller.subject, caller.project, caller.role) == ("u", Project("t"), Role.VIEWER)


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"role": "worker"}, Role.WORKER),
        ({"role": "worker", "roles": ["viewer"]}, Role.VIEWER),
        ({"roles": ["viewer", "admin", "operator", "billing"]}, Role.ADMIN),
        ({"roles": ["worker", "operator"]}, Role.OPERATOR),
        ({"roles": "viewer"}, Role.VIEWER),
    ],
)
async def test_the_strongest_role_counts_and_worker_only_alone(claims: dict[str, Any], role: Role) -> None:
    caller = await checker().check(signed({"sub": "s", "project_id": "p", "exp": NOW + 1, **claims}))
    assert caller is not None
    assert caller.role is role


REFUSED: dict[str, Callable[[], str]] = {
    "no algorithm": lambda: jwt.encode(CLAIMS, "", "none"),
    "no algorithm, in capitals": lambda: f"{part({'alg': 'NONE'})}.{part(CLAIMS)}.",
    "no signature": lambda: signed().rpartition(".")[0] + ".",
    "another secret": lambda: jwt.encode(CLAIMS, b"t" * 32, "HS256"),
    "another hash": lambda: jwt.encode(CLAIMS, SECRET * 2, "HS512"),
    "changed claims": lambda: ".".join([signed().split(".")[0], part({**CLAIMS, "role": "admin"}), signed().split(".")[2]]),
    "signed with a key pair": lambda: jwt.encode(CLAIMS, RSA_KEY, "RS256"),
    "truncated": lambda: signed()[:-10],
    "two parts": lambda: ".".join(signed().split(".")[:2]),
    "five parts": lambda: "a.b.c.d.e",
    "no text of a token": lambda: "%%%.%%%.%%%",
    "empty": lambda: "..",
    "a header that is no object": lambda: f"{part([])}.{part(CLAIMS)}.AAAA",
    "claims that are no object": lambda: f"{part({'alg': 'HS256'})}.{part([1])}.AAAA",
    "deeply nested": lambda: base64.urlsafe_b64encode(b"[" * 4000).decode() + ".e30.AAAA",
    "extensions that must be understood": lambda: signed(header={"crit": ["exp"]}),
    "a key id that is no text": lambda: f"{part({'alg': 'HS256', 'kid': 7})}.{part(CLAIMS)}.AAAA",
    "expired": lambda: signed(exp=NOW - LEEWAY),
    "never expires": lambda: signed(without="exp"),
    "expiry is a text": lambda: signed(exp="tomorrow"),
    "expiry is true": lambda: signed(exp=True),
    "expiry is infinite": lambda: signed(exp=1e400),
    "not yet": lambda: signed(nbf=NOW + LEEWAY + 1),
    "begins at no time": lambda: signed(nbf=[]),
    "no subject": lambda: signed(without="sub"),
    "an empty subject": lambda: signed(sub=""),
    "a huge subject": lambda: signed(sub="s" * 256),
    "no project": lambda: signed(without="project_id"),
    "every project": lambda: signed(project_id="*"),
    "a project with a line end": lambda: signed(project_id="a\nb"),
    "a project that is a number": lambda: signed(project_id=7),
    "no role": lambda: signed(without="role"),
    "roles of others": lambda: signed(role="superuser", roles=["root", 7]),
    "an audience where none is known": lambda: signed(aud="foliot"),
}


@pytest.mark.parametrize("made", REFUSED.values(), ids=REFUSED)
async def test_a_token_is_not_trusted(made: Callable[[], str]) -> None:
    assert await checker().check(made()) is None


async def test_clocks_may_differ_a_little() -> None:
    assert await checker().check(signed(exp=NOW - LEEWAY + 1)) is not None
    assert await checker().check(signed(nbf=NOW + LEEWAY)) is not None


async def test_audience_and_issuer_are_checked_where_they_are_known() -> None:
    strict = checker(audiences=("foliot", "jobs"), issuer="https://issuer.test")
    assert await strict.check(signed(aud="jobs", iss="https://issuer.test")) is not None
    assert await strict.check(signed(aud=["x", "foliot"], iss="https://issuer.test")) is not None
    for wrong in ({"aud": "jobs"}, {"iss": "https://issuer.test"}, {"aud": "x", "iss": "https://issuer.test"}, {"aud": [7]}):
        assert await strict.check(signed(**wrong)) is None
    assert await strict.check(signed(aud="foliot", iss="https://issuer.test.evil")) is None


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        OneSecret(b"s" * 31)


# ---- public keys


async def test_tokens_signed_with_published_keys_are_trusted() -> None:
    published = Published(rsa_jwk(kid="r", alg="RS256", use="sig"), ec_jwk(kid="e"))
    async with published.set:
        for key, algorithm, key_id in ((RSA_KEY, "RS256", "r"), (EC_KEY, "ES256", "e")):
            token = jwt.encode(CLAIMS, key, algorithm, headers={"kid": key_id})
            assert await checker(published.set).check(token) is not None
    assert published.asked == 1


async def test_a_public_key_is_no_secret() -> None:
    public = RSA_KEY.public_key()
    stolen = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(rsa_jwk(kid="r")).encode(),
    ]
    published = Published(rsa_jwk(kid="r"))
    async with published.set:
        for secret in stolen:
            # By hand: the library refuses to sign with what looks like a public key.
            head = f"{part({'alg': 'HS256', 'kid': 'r'})}.{part(CLAIMS)}"
            signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head.encode(), secret)
            token = f"{head}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
            assert await checker(published.set).check(token) is None
        assert await checker(published.set).check(jwt.encode(CLAIMS, "", "none", headers={"kid": "r"})) is None
        assert await checker(published.set).check(signed(header={"kid": "r"})) is None


async def test_one_keys_name_does_not_open_with_another_key() -> None:
    published = Published(rsa_jwk(kid="r"), ec_jwk(kid="e"))
    async with published.set:
        assert await checker(published.set).check(jwt.encode(CLAIMS, EC_KEY, "ES256", headers={"kid": "r"})) is None
        assert await checker(published.set).check(jwt.encode(CLAIMS, RSA_KEY, "RS512", headers={"kid": "r"})) is None
        other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        assert await checker(published.set).check(jwt.encode(CLAIMS, other, "RS256", headers={"kid": "r"})) is None


async def test_a_token_brings_no_key_of_its_own() -> None:
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    published = Published(rsa_jwk(kid="r"))
    async with published.set:
        header = {"kid": "mine", "jwk": rsa_jwk(own), "jku": "https://evil.test/jwks", "x5u": "https://evil.test"}
        assert await checker(published.set).check(jwt.encode(CLAIMS, own, "RS256", headers=header)) is None


async def test_without_a_key_id_the_only_key_is_meant() -> None:
    one, two = Published(rsa_jwk(kid="r")), Published(rsa_jwk(kid="r"), ec_jwk(kid="e"))
    async with one.set, two.set:
        assert await checker(one.set).check(jwt.encode(CLAIMS, RSA_KEY, "RS256")) is not None
        assert await checker(two.set).check(jwt.encode(CLAIMS, RSA_KEY, "RS256")) is None


async def test_a_new_key_is_fetched_but_made_up_names_do_not_ask_without_end() -> None:
    clock = ManualClock()
    published = Published(rsa_jwk(kid="old"), clock=clock)
    async with published.set as keys:
        published.body = key_set(rsa_jwk(kid="old"), ec_jwk(kid="new"))
        assert await keys.find("new") is None, "it was read only now"
        clock.advance(key_sets.UNKNOWN_EVERY_S)
        assert await keys.find("new") is not None
        for number in range(20):
            assert await keys.find(f"made-up-{number}") is None
        assert published.asked == 2


async def test_known_keys_stay_while_the_issuer_is_away() -> None:
    clock = ManualClock()
    published = Published(rsa_jwk(kid="r"), clock=clock)
    async with published.set as keys:
        for status, body in (
            (0, b""),
            (500, b"{}"),
            (302, b""),
            (200, b"not json"),
            (200, b'{"keys": []}'),
            (200, b"x" * 300_000),
        ):
            published.status, published.body = status, body
            await clock.run_for(key_sets.REFRESH_S)
            assert await keys.find("r") is not None
        published.status, published.body = 200, key_set(ec_jwk(kid="e"))
        await clock.run_for(key_sets.REFRESH_S)
        assert await keys.find("r") is None, "a key that was taken out of the set ends"


async def test_a_scheduler_starts_while_the_issuer_is_away() -> None:
    clock = ManualClock()
    published = Published(rsa_jwk(kid="r"), clock=clock)
    published.status = 0
    async with published.set as keys:
        assert await keys.find("r") is None
        published.status = 200
        clock.advance(key_sets.UNKNOWN_EVERY_S)
        assert await keys.find("r") is not None


async def test_a_file_must_be_good_at_the_start_and_is_read_again(tmp_path: Path) -> None:
    clock, path = ManualClock(), tmp_path / "jwks.json"
    with pytest.raises(FileNotFoundError):
        await KeySet(path, clock).start()
    path.write_bytes(b"{}")
    with pytest.raises(ValueError, match="JSON Web Key Set"):
        await KeySet(path, clock).start()
    path.write_bytes(key_set(rsa_jwk(kid="r")))
    async with KeySet(path, clock) as keys:
        path.write_bytes(key_set(ec_jwk(kid="e")))
        clock.advance(key_sets.UNKNOWN_EVERY_S)
        assert await keys.find("e") is not None


def test_keys_for_other_uses_are_left_out() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    other_curve = ec.generate_private_key(ec.SECP384R1())
    useless = [
        {"kty": "oct", "kid": "secret", "k": part("s" * 32)},
        rsa_jwk(weak, kid="weak"),
        rsa_jwk(kid="for encryption", use="enc"),
        rsa_jwk(kid="another algorithm", alg="RS512"),
        ec_jwk(other_curve, kid="another curve"),
        {"kty": "RSA", "kid": "nothing in it"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "no point of the curve"},
        {**rsa_jwk(), "kid": 7},
    ]
    assert list(parse_key_set(key_set(*useless, ec_jwk(kid="good")))) == ["good"]
    with pytest.raises(ValueError, match="no key"):
        parse_key_set(key_set(*useless))


async def test_a_huge_token_is_not_even_read() -> None:
    class Untouched:
        async def check(self, token: str) -> None:
            raise AssertionError("read")

    async def no_key(_: bytes) -> None:
        raise AssertionError("looked up")

    authenticate = Authenticator(no_key, CLOCK, tokens=Untouched())
    with pytest.raises(Exception, match="longer than"):
        await authenticate("Bearer " + signed(pad="p" * AUTHORIZATION_CHARS_MAX))


async def test_a_token_is_remembered_no_longer_than_it_lasts() -> None:
    clock = ManualClock()

    async def no_key(_: bytes) -> None:
        return None

    authenticate = Authenticator(no_key, clock, tokens=TokenChecker(OneSecret(SECRET), clock))
    token = f"Bearer {signed(exp=NOW + 1 - LEEWAY)}"
    assert (await authenticate(token)).subject == "ada"
    clock.advance(1)
    with pytest.raises(Exception, match="expired"):
        await authenticate(token)
