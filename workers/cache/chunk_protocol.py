"""What two hosts say to one another about chunks, byte by byte. Knows no files, no pools and no threads.

    client -> server   8 bytes that name the protocol, 32 random bytes
    server -> client   32 random bytes
    client -> server   proof of the token: HMAC-SHA256 over "client" and both nonces
    server -> client   proof of the token: HMAC-SHA256 over "server" and both nonces
    then, as often as the client likes:
    client -> server   length of the chunk's id (2 bytes), the id in UTF-8, seal (32 bytes)
    server -> client   status (1 byte), length of what follows (8 bytes), the chunk

The token is never sent, nonces are fresh, and the two sides prove themselves by different words: nothing that was heard
is of use later, or for the other side. Seals are HMACs by a key of this connection, and count the requests: who only
passes a handshake on between two hosts cannot ask for anything. Chunks and answers are not sealed: receivers hash
chunks, and where others may listen, the cluster needs TLS.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import struct
from enum import IntEnum

from workers.cache.sockets import Deadline, receive, send

LEAST_TOKEN_BYTES = 16
LONGEST_ID_BYTES = 512
_PROTOCOL = b"PRCHUNK1"
_NONCE_BYTES = 32
_PROOF_BYTES = 32
_LENGTH = struct.Struct("!H")
_ANSWER = struct.Struct("!BQ")


class ProtocolError(Exception):
    """The other side does not speak the protocol, or does not know the token."""


class Status(IntEnum):
    """How a server answers."""

    HERE = 1
    LACKS = 2
    BUSY = 3


class Session:
    """One connection after its handshake, as one side sees it.

    Parameters
    ----------
    key : bytes
        What only these two sides know, for this connection.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._requests = 0

    def seal(self, request: bytes) -> bytes:
        """Return what proves the next request of this connection; each side calls it once a request."""
        self._requests += 1
        return hmac.digest(self._key, self._requests.to_bytes(8, "big") + request, "sha256")


def check_token(token: bytes) -> bytes:
    """Return the token.

    Raises
    ------
    ValueError
        If it is too short to keep anybody out.
    """
    if len(token) < LEAST_TOKEN_BYTES:
        raise ValueError(
            f"The token of the chunk exchange has {len(token)} bytes and needs {LEAST_TOKEN_BYTES} or more; make one "
            "with secrets.token_bytes(32)."
        )
    return token


def greet(sock: socket.socket, token: bytes, deadline: Deadline) -> Session:
    """Go through the handshake as a client.

    Raises
    ------
    ProtocolError
        If the server does not know the token, or hangs up, as it does on who does not know its token.
    OSError
        If the server is too slow.
    """
    mine = secrets.token_bytes(_NONCE_BYTES)
    try:
        send(sock, _PROTOCOL + mine, deadline)
        theirs = receive(sock, _NONCE_BYTES, deadline)
        send(sock, _proof(token, b"client", mine, theirs), deadline)
        proof = receive(sock, _PROOF_BYTES, deadline)
    except ConnectionError:
        raise ProtocolError("it hung up on the handshake; both need the same token, and both TLS or neither") from None
    if not hmac.compare_digest(proof, _proof(token, b"server", mine, theirs)):
        raise ProtocolError("it does not know this cluster's token")
    return Session(_proof(token, b"requests", mine, theirs))


def welcome(sock: socket.socket, token: bytes, deadline: Deadline) -> Session:
    """Go through the handshake as a server; nothing but a random number is told to who does not know the token.

    Raises
    ------
    ProtocolError
        If the client does not know the token, or does not speak the protocol.
    OSError
        If the client closes the connection, or is too slow.
    """
    if receive(sock, len(_PROTOCOL), deadline) != _PROTOCOL:
        raise ProtocolError("it does not speak the protocol")
    theirs = receive(sock, _NONCE_BYTES, deadline)
    mine = secrets.token_bytes(_NONCE_BYTES)
    send(sock, mine, deadline)
    if not hmac.compare_digest(receive(sock, _PROOF_BYTES, deadline), _proof(token, b"client", theirs, mine)):
        raise ProtocolError("it does not know this cluster's token")
    send(sock, _proof(token, b"server", theirs, mine), deadline)
    return Session(_proof(token, b"requests", theirs, mine))


def send_request(sock: socket.socket, session: Session, chunk_id: str, deadline: Deadline) -> None:
    """Ask for a chunk.

    Raises
    ------
    ValueError
        If the id is empty or too long.
    """
    name = chunk_id.encode()
    if not 0 < len(name) <= LONGEST_ID_BYTES:
        raise ValueError(f"A chunk's id of {len(name)} bytes cannot be asked for; 1 to {LONGEST_ID_BYTES} can.")
    send(sock, _LENGTH.pack(len(name)) + name + session.seal(name), deadline)


def receive_request(sock: socket.socket, session: Session, idle_s: float, timeout_s: float) -> str:
    """Wait for a request up to `idle_s`, then for the rest of it up to `timeout_s`, and return the chunk's id.

    Raises
    ------
    ProtocolError
        If it is no request, or not the client's that the handshake was with.
    """
    (length,) = _LENGTH.unpack(receive(sock, _LENGTH.size, Deadline(idle_s)))
    if not 0 < length <= LONGEST_ID_BYTES:
        raise ProtocolError(f"it asks for an id of {length} bytes, {LONGEST_ID_BYTES} are the most")
    told = receive(sock, length + _PROOF_BYTES, Deadline(timeout_s))
    name, seal = told[:length], told[length:]
    if not hmac.compare_digest(seal, session.seal(name)):
        raise ProtocolError("its request is not sealed as it should be")
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise ProtocolError("it asks for an id that is no text") from None


def send_answer(sock: socket.socket, status: Status, size_bytes: int, deadline: Deadline) -> None:
    """Answer a request; with `Status.HERE` the chunk's bytes must follow."""
    send(sock, _ANSWER.pack(status, size_bytes), deadline)


def receive_answer(sock: socket.socket, deadline: Deadline) -> tuple[Status, int]:
    """Return the status, and the number of bytes that follow.

    Raises
    ------
    ProtocolError
        If it is no answer.
    """
    status, size_bytes = _ANSWER.unpack(receive(sock, _ANSWER.size, deadline))
    try:
        return Status(status), size_bytes
    except ValueError:
        raise ProtocolError(f"it answers with the unknown status {status}") from None


def _proof(token: bytes, role: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    return hmac.digest(token, _PROTOCOL + role + client_nonce + server_nonce, "sha256")
