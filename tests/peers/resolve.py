"""Prints what Python makes of each name: by the system's resolver (`system`), or by dnspython (`A`, `SRV`, `TXT`)."""

import socket
import sys

import dns.exception
import dns.resolver


def by_system(name):
    try:
        return [entry[4][0] for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except socket.gaierror:
        return []


def by_dnspython(name, kind):
    try:
        return [record.to_text() for record in dns.resolver.resolve(name, kind, search=True)]
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []


kind, names = sys.argv[1], sys.argv[2:]
for name in names:
    found = by_system(name) if kind == "system" else [text.replace(" ", "/") for text in by_dnspython(name, kind)]
    print(name, *found)
