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


def unpack(data, at=0):
    """The value that begins at `at`, and where the next one begins. IndexError: it is cut off."""
    tag = data[at]
    at += 1
    if tag < 0x80:
        return tag, at
    if tag < 0xA0 or tag in (0xDC, 0xDD, 0xDE, 0xDF):
        return unpack_container(data, tag, at)
    if tag < 0xC0:
        return unpack_bytes(data, at, tag & 31, True)
    if tag in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at
    size = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD9: 1, 0xDA: 2,
            0xDB: 4}[tag]
    number = unpack_number(data, at, size)
    if 0xCC <= tag <= 0xCF:
        return number, at + size
    return unpack_bytes(data, at + size, number, tag >= 0xD9)


def unpack_number(data, at, size):
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at:at + size], "big")


def unpack_bytes(data, at, size, is_text):
    if at + size > len(data):
        raise IndexError
    value = bytes(data[at:at + size])
    return value.decode() if is_text else value, at + size


def unpack_container(data, tag, at):
    if tag < 0xA0:
        count = tag & 15
    else:
        size = 2 if tag in (0xDC, 0xDE) else 4
        count, at = unpack_number(data, at, size), at + size
    is_map = tag < 0x90 or tag >= 0xDE
    items = []
    for _ in range(2 * count if is_map else count):
        item, at = unpack(data, at)
        items.append(item)
    return dict(zip(items[::2], items[1::2])) if is_map else items, at
