"""Texts that only we can read and make, for cookies: JWE with a key that is made of a secret.

``alg`` is ``dir`` and ``enc`` is ``A256GCM``; the key is HKDF with SHA-256 of the secret, another
one for each purpose, so that what was made for one is nothing for the other (RFC 7516, RFC 5869).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Browsers drop cookies above 4096 bytes, attributes included; nothing longer is even looked at.
LONGEST = 3900
_KEY_BYTES = 32
_ALGORITHMS = ["dir", "A256GCM"]


@dataclass(frozen=True)
class Seal:
    """Seals with the first of its keys, opens with any: two while a secret is being changed.

    *keys* maps the header of what is made with a key, as it stands at the text's beginning, to it.
    """

    keys: Mapping[str, Any] = field(repr=False)

    def close(self, data: bytes) -> str:
        """*data* as a text of URL-safe characters."""
        return _encrypt(data, next(iter(self.keys.values())))

    def open(self, text: str) -> bytes | None:
        """What was sealed; None for whatever does not come from one of our keys."""
        from joserfc import jwe
        from joserfc.errors import JoseError

        # Only a header that we have written is parsed, so the client chooses no algorithm.
        key = self.keys.get(text.partition(".")[0])
        if key is None or len(text) > LONGEST:
            return None
        try:
            return jwe.decrypt_compact(text, key, algorithms=_ALGORITHMS).plaintext
        except (JoseError, ValueError):
            return None


def seal(purpose: str, secrets: Sequence[str]) -> Seal:
    """Keys for *purpose*: the first of *secrets* is today's, the others are still believed."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from joserfc.jwk import OctKey

    keys: dict[str, Any] = {}
    for secret in secrets:
        hkdf = HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"c2cotel {purpose}".encode())
        raw = hkdf.derive(secret.encode(errors="surrogatepass"))
        kid = hashlib.sha256(b"kid" + raw).hexdigest()[:8]
        key = OctKey.import_key(raw, {"kid": kid})
        keys.setdefault(_encrypt(b"", key).partition(".")[0], key)
    return Seal(keys)


def _encrypt(data: bytes, key: Any) -> str:
    from joserfc import jwe

    header = {"alg": "dir", "enc": "A256GCM", "kid": key.kid}
    return jwe.encrypt_compact(header, data, key, algorithms=_ALGORITHMS)
