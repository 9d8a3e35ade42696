"""Just enough MessagePack to speak to a node in tests, with the standard library alone."""
import struct


def pack(value):
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">BQ", 0xCF, value) if value > 127 else bytes([value])
    if isinstance(value, str):
        data = value.encode()
        return struct.pack(">BH", 0xDA, len(data)) + data
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, (list, tuple)):
        return struct.pack(">BH", 0xDC, len(value)) + b"".join(map(pack, value))
    if isinstance(value, dict):
        return struct.pack(">BH", 0xDE, len(value)) + b"".join(
            pack(k) + pack(v) for k, v in value.items())
    raise TypeError(type(value))


def request(number, method, **params):
    return pack([0, number, method, params])
