"""Sends one signed request to hmac-auth: port, algorithm, method, target, body, what is done wrong with it (or nothing).
Prints the status."""

import base64
import email.utils
import hashlib
import hmac
import http.client
import sys

port, algorithm, method, target, body, wrong = sys.argv[1:]
body = body.encode()
secret = b"only bob knows"
digest = "SHA-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()
headers = {"Date": email.utils.formatdate(usegmt=True), "Digest": digest, "X-Amount": "100"}
names = ["date", "digest", "x-amount", "request-line", "@request-target", "host"]
lines = []
for name in names:
    if name == "request-line":
        lines.append(f"{method} {target} HTTP/1.1")
    elif name == "@request-target":
        lines.append(f"@request-target: {method.lower()} {target}")
    elif name == "host":
        lines.append(f"host: 127.0.0.1:{port}")
    else:
        lines.append(f"{name}: {headers[name.title()]}")
signature = hmac.new(secret, "\n".join(lines).encode(), algorithm.split("-")[1]).digest()
headers["Authorization"] = 'hmac username="bob-signs", algorithm="%s", headers="%s", signature="%s"' % (
    algorithm,
    " ".join(names),
    base64.b64encode(signature).decode(),
)
if wrong == "amount":
    headers["X-Amount"] = "1000"
elif wrong == "body":
    body = b"another body"
elif wrong == "target":
    target = target.replace("%7E", "~")
elif wrong == "method":
    method = "PUT"
elif wrong == "date":
    headers["Date"] = email.utils.formatdate(0, usegmt=True)
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
connection.request(method, target, body=body, headers=headers)
print(connection.getresponse().status)
