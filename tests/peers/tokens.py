"""Tokens as PyJWT makes them: a line of JSON for each algorithm, with the public key in PEM or the secret."""

import json
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa


def pem(private):
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS = {
    "RS": lambda _: RSA,
    "PS": lambda _: RSA,
    "ES": lambda bits: ec.generate_private_key({"256": ec.SECP256R1, "384": ec.SECP384R1, "512": ec.SECP521R1}[bits]()),
    "Ed": lambda _: ed25519.Ed25519PrivateKey.generate(),
}
for algorithm in "HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA".split():
    claims = {"iss": "py-" + algorithm, "exp": int(time.time()) + 600}
    line = {"algorithm": algorithm, "key": claims["iss"]}
    if algorithm.startswith("HS"):
        line["secret"] = secret = "a secret of PyJWT that is long enough for every one of the three algorithms"
    else:
        secret = KEYS[algorithm[:2]](algorithm[2:])
        line["pem"] = pem(secret)
    line["token"] = jwt.encode(claims, secret, algorithm=algorithm)
    claims["exp"] = int(time.time()) - 1
    line["late"] = jwt.encode(claims, secret, algorithm=algorithm)
    print(json.dumps(line))
