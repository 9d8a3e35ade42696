/* tests/unit/wire/codec_test.c: the laws that hold for every message, checked for every one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/support/base/death.h"
#include "tests/support/wire/edge.h"
#include "tests/support/wire/sample.h"
#include "wire/internal.h"

enum { ROOM = 3 << 20 };

struct fixture {
    uint8_t memory[256 << 10]; /* What a sample borrows. */
    uint8_t encoded[ROOM];
    uint8_t changed[ROOM];
    uint8_t value[ROOM];
    struct edge edge;
};

static int open_fixture(void **state)
{
    static struct fixture fixture;

    fixture.edge = edge_open(64 << 10);
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    edge_close(&fixture->edge);
    return 0;
}

static const struct wire_message *message_at(uint32_t id)
{
    return wire_message_of((enum wire_message_id)id);
}

/* The fixed sample of a message, in which no field is absent. */
static struct bytes encode_fixed(struct fixture *fixture, const struct wire_message *message,
                                 union sample *sample)
{
    struct buffer memory = buffer_of(fixture->memory, sizeof(fixture->memory));
    struct buffer encoded = buffer_of(fixture->encoded, sizeof(fixture->encoded));

    sample_fill_fixed(message, &memory, sample);
    assert_true(wire_message_encode(message, sample, &encoded));
    return buffer_bytes(&encoded);
}

static enum error decode(const struct wire_message *message, struct bytes bytes,
                         union sample *sample)
{
    struct bytes rest = bytes;
    enum error error = wire_message_decode(message, &rest, sample);

    if (error == ERR_OK) {
        assert_int_equal(rest.size, 0);
    } else {
        assert_ptr_equal(rest.data, bytes.data);
        assert_int_equal(rest.size, bytes.size);
    }
    return error;
}

/* The verdict on the fixed sample of `message` whose value of `key` is `value`. */
static enum error decode_with(struct fixture *fixture, const struct wire_message *message,
                              const char *key, struct bytes value)
{
    union sample sample;
    struct bytes encoded = encode_fixed(fixture, message, &sample);
    struct buffer changed = buffer_of(fixture->changed, sizeof(fixture->changed));

    sample_replace(encoded, key, value, &changed);
    return decode(message, buffer_bytes(&changed), &sample);
}

static void every_message_survives_a_round_trip(void **state)
{
    struct fixture *fixture = *state;
    struct prng prng;
    prng_init(&prng, 1);

    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
            struct buffer memory = buffer_of(fixture->memory, sizeof(fixture->memory));
            struct buffer encoded = buffer_of(fixture->encoded, sizeof(fixture->encoded));
            union sample sent;
            union sample received;
            sample_fill(message_at(id), &prng, &memory, &sent);

            assert_true(wire_message_encode(message_at(id), &sent, &encoded));

            assert_int_equal(decode(message_at(id), buffer_bytes(&encoded), &received), ERR_OK);
            assert_true(sample_is_equal(message_at(id), &sent, &received));
        }
    }
}

static void every_item_of_a_list_can_be_decoded_on_its_own(void **state)
{
    struct fixture *fixture = *state;
    struct wire_list_result result;
    union sample sample;
    struct bytes encoded =
        encode_fixed(fixture, wire_message_of(WIRE_MESSAGE_list_result), &sample);

    assert_int_equal(wire_list_result_decode(&encoded, &result), ERR_OK);

    struct bytes raw = result.items.raw;
    struct wire_pair pair;
    assert_int_equal(result.items.count, 2);
    assert_int_equal(wire_pair_decode(&raw, &pair), ERR_OK);
    assert_true(bytes_equal(pair.key, bytes_of("\0key\xff", 5)));
    assert_int_equal(wire_pair_decode(&raw, &pair), ERR_OK);
    assert_int_equal(raw.size, 0);
}

static void every_truncation_is_incomplete(void **state)
{
    struct fixture *fixture = *state;

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        union sample sample;
        struct bytes encoded = encode_fixed(fixture, message_at(id), &sample);

        for (size_t size = 0; size < encoded.size; size++) {
            struct bytes cut = edge_place(&fixture->edge, bytes_of(encoded.data, size));
            assert_int_equal(decode(message_at(id), cut, &sample), ERR_INCOMPLETE);
        }
        struct bytes whole = edge_place(&fixture->edge, encoded);
        assert_int_equal(decode(message_at(id), whole, &sample), ERR_OK);
    }
}

/* Whatever the bytes say, nothing outside of them is read and no assertion fails. */
static void every_damaged_byte_is_survived(void **state)
{
    struct fixture *fixture = *state;
    struct prng prng;
    prng_init(&prng, 2);

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        union sample sample;
        struct bytes encoded = encode_fixed(fixture, message_at(id), &sample);
        struct bytes placed = edge_place(&fixture->edge, encoded);
        uint8_t *at = fixture->edge.pages + (placed.data - fixture->edge.pages);

        for (size_t i = 0; i < encoded.size; i++) {
            at[i] = (uint8_t)prng_next(&prng);
            struct bytes rest = placed;
            enum error error = wire_message_decode(message_at(id), &rest, &sample);
            assert_true(error == ERR_OK || rest.size == placed.size);
            at[i] = encoded.data[i];
        }
    }
}

static void encoding_writes_all_or_nothing(void **state)
{
    struct fixture *fixture = *state;

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        union sample sample;
        struct bytes encoded = encode_fixed(fixture, message_at(id), &sample);

        for (size_t capacity = 3; capacity < 3 + encoded.size; capacity++) {
            struct buffer buffer = {.data = fixture->changed, .size = 3, .capacity = capacity};
            assert_false(wire_message_encode(message_at(id), &sample, &buffer));
            assert_int_equal(buffer.size, 3);
        }
        struct buffer enough = {.data = fixture->changed, .size = 3, .capacity = 3 + encoded.size};
        assert_true(wire_message_encode(message_at(id), &sample, &enough));
    }
}

static void messages_back_to_back_are_taken_one_by_one(void **state)
{
    (void)state;
    uint8_t memory[64];
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_get get = {.key = bytes_of_text("first")};
    assert_true(wire_get_encode(&get, &buffer));
    get.key = bytes_of_text("second");
    assert_true(wire_get_encode(&get, &buffer));

    struct bytes rest = buffer_bytes(&buffer);

    assert_int_equal(wire_get_decode(&rest, &get), ERR_OK);
    assert_true(bytes_equal(get.key, bytes_of_text("first")));
    assert_int_equal(wire_get_decode(&rest, &get), ERR_OK);
    assert_true(bytes_equal(get.key, bytes_of_text("second")));
    assert_int_equal(wire_get_decode(&rest, &get), ERR_INCOMPLETE);
}

/* An encoded value of `size` bytes, numbers or items that lies at, or one beyond, a limit. */
static struct bytes value_of_size(struct fixture *fixture, const struct wire_field *field,
                                  uint32_t size)
{
    struct buffer value = buffer_of(fixture->value, sizeof(fixture->value));
    bool fits = true;

    if (field->type == WIRE_TYPE_LIST) {
        fits = wire_pack_array(&value, size);
        for (uint32_t i = 0; i < size; i++) {
            fits = fits && wire_pack_map(&value, 0);
        }
    } else {
        uint8_t *at = fixture->encoded + (ROOM - size);
        memset(at, 'x', size);
        struct bytes bytes = bytes_of(at, size);
        fits = field->type == WIRE_TYPE_TEXT ? wire_pack_text(&value, bytes)
                                             : wire_pack_bytes(&value, bytes);
    }
    assert_true(fits);
    return buffer_bytes(&value);
}

static void a_field_at_its_limit_is_taken_and_one_beyond_is_too_large(void **state)
{
    struct fixture *fixture = *state;
    uint32_t checked = 0;

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        for (uint32_t i = 0; i < message_at(id)->field_count; i++) {
            const struct wire_field *field = &message_at(id)->fields[i];
            if (field->limit == 0) {
                continue;
            }

            assert_int_equal(decode_with(fixture, message_at(id), field->key,
                                         value_of_size(fixture, field, field->limit)),
                             ERR_OK);
            assert_int_equal(decode_with(fixture, message_at(id), field->key,
                                         value_of_size(fixture, field, field->limit + 1)),
                             ERR_TOO_LARGE);
            checked++;
        }
    }
    assert_true(checked > 40);
}

static void a_number_beyond_32_bits_is_too_large_for_u32_alone(void **state)
{
    struct fixture *fixture = *state;

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        for (uint32_t i = 0; i < message_at(id)->field_count; i++) {
            const struct wire_field *field = &message_at(id)->fields[i];
            if (field->type != WIRE_TYPE_U32 && field->type != WIRE_TYPE_U64) {
                continue;
            }
            struct bytes most = bytes_of("\xce\xff\xff\xff\xff", 5);
            struct bytes beyond = bytes_of("\xcf\0\0\0\1\0\0\0\0", 9);

            assert_int_equal(decode_with(fixture, message_at(id), field->key, most), ERR_OK);
            assert_int_equal(decode_with(fixture, message_at(id), field->key, beyond),
                             field->type == WIRE_TYPE_U32 ? ERR_TOO_LARGE : ERR_OK);
        }
    }
}

static void a_missing_field_is_malformed_exactly_when_it_is_required(void **state)
{
    struct fixture *fixture = *state;

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        for (uint32_t i = 0; i < message_at(id)->field_count; i++) {
            const struct wire_field *field = &message_at(id)->fields[i];

            assert_int_equal(decode_with(fixture, message_at(id), field->key, bytes_of(NULL, 0)),
                             field->presence == WIRE_OPTIONAL ? ERR_OK : ERR_MALFORMED);
        }
    }
}

static void an_empty_field_is_malformed_exactly_when_it_must_be_filled(void **state)
{
    struct fixture *fixture = *state;
    uint32_t filled_count = 0;

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        for (uint32_t i = 0; i < message_at(id)->field_count; i++) {
            const struct wire_field *field = &message_at(id)->fields[i];
            if (field->type != WIRE_TYPE_BYTES && field->type != WIRE_TYPE_TEXT) {
                continue;
            }
            filled_count += field->presence == WIRE_FILLED ? 1 : 0;

            assert_int_equal(decode_with(fixture, message_at(id), field->key, bytes_of("\xa0", 1)),
                             field->presence == WIRE_FILLED ? ERR_MALFORMED : ERR_OK);
        }
    }
    assert_true(filled_count >= 7);
}

static void an_absent_optional_field_means_zero_and_is_not_written(void **state)
{
    (void)state;
    uint8_t memory[64];
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_list empty = {.limit = 0};
    struct wire_list list = {.limit = 7, .after = bytes_of_text("x")};

    assert_true(wire_list_encode(&empty, &buffer));

    struct bytes rest = buffer_bytes(&buffer);
    assert_true(bytes_equal(rest, bytes_of("\x80", 1)));
    assert_int_equal(wire_list_decode(&rest, &list), ERR_OK);
    assert_int_equal(list.limit, 0);
    assert_int_equal(list.after.size, 0);
}

struct sort {
    const char *name;
    struct bytes value;
};

/* One value of every sort that MessagePack has. */
static const struct sort sorts[] = {
    {"nil", {(const uint8_t *)"\xc0", 1}},
    {"bool", {(const uint8_t *)"\xc3", 1}},
    {"number", {(const uint8_t *)"\x07", 1}},
    {"negative", {(const uint8_t *)"\xff", 1}},
    {"negative 64", {(const uint8_t *)"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", 9}},
    {"float", {(const uint8_t *)"\xca\x3f\x80\0\0", 5}},
    {"double", {(const uint8_t *)"\xcb\x3f\xf0\0\0\0\0\0\0", 9}},
    {"str", {(const uint8_t *)"\xa1s", 2}},
    {"bin", {(const uint8_t *)"\xc4\1b", 3}},
    {"ext", {(const uint8_t *)"\xd4\1e", 3}},
    {"array of maps", {(const uint8_t *)"\x91\x80", 2}},
    {"array of nil", {(const uint8_t *)"\x91\xc0", 2}},
    {"map", {(const uint8_t *)"\x80", 1}},
};

static bool is_taken(const struct wire_field *field, const char *sort)
{
    switch ((enum wire_type)field->type) {
    case WIRE_TYPE_U64:
    case WIRE_TYPE_U32:
        return strcmp(sort, "number") == 0;
    case WIRE_TYPE_BOOL:
        return strcmp(sort, "bool") == 0;
    case WIRE_TYPE_BYTES:
        return strcmp(sort, "bin") == 0 || strcmp(sort, "str") == 0;
    case WIRE_TYPE_TEXT:
        return strcmp(sort, "str") == 0;
    case WIRE_TYPE_LIST:
        return strcmp(sort, "array of maps") == 0;
    }
    return false;
}

static void a_value_of_another_type_is_malformed(void **state)
{
    struct fixture *fixture = *state;

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        for (uint32_t i = 0; i < message_at(id)->field_count; i++) {
            const struct wire_field *field = &message_at(id)->fields[i];

            for (size_t s = 0; s < COUNT_OF(sorts); s++) {
                assert_int_equal(decode_with(fixture, message_at(id), field->key, sorts[s].value),
                                 is_taken(field, sorts[s].name) ? ERR_OK : ERR_MALFORMED);
            }
        }
    }
}

static void a_number_is_taken_in_every_width(void **state)
{
    struct fixture *fixture = *state;
    static const struct bytes sevens[] = {
        {(const uint8_t *)"\x07", 1},
        {(const uint8_t *)"\xcc\x07", 2},
        {(const uint8_t *)"\xcd\0\x07", 3},
        {(const uint8_t *)"\xce\0\0\0\x07", 5},
        {(const uint8_t *)"\xcf\0\0\0\0\0\0\0\x07", 9},
        {(const uint8_t *)"\xd0\x07", 2},
        {(const uint8_t *)"\xd1\0\x07", 3},
        {(const uint8_t *)"\xd2\0\0\0\x07", 5},
        {(const uint8_t *)"\xd3\0\0\0\0\0\0\0\x07", 9},
    };

    for (size_t i = 0; i < COUNT_OF(sevens); i++) {
        struct wire_session_renew renew = {.session = 1};
        struct buffer encoded = buffer_of(fixture->encoded, sizeof(fixture->encoded));
        struct buffer changed = buffer_of(fixture->changed, sizeof(fixture->changed));
        assert_true(wire_session_renew_encode(&renew, &encoded));
        sample_replace(buffer_bytes(&encoded), "session", sevens[i], &changed);

        struct bytes rest = buffer_bytes(&changed);

        assert_int_equal(wire_session_renew_decode(&rest, &renew), ERR_OK);
        assert_int_equal(renew.session, 7);
    }
}

static void a_key_that_comes_twice_is_malformed(void **state)
{
    (void)state;
    struct bytes twice = bytes_of("\x82\xa3key\xa1x\xa3key\xa1x", 13);
    struct wire_get get;

    assert_int_equal(wire_get_decode(&twice, &get), ERR_MALFORMED);
}

static void a_key_that_is_not_text_is_malformed(void **state)
{
    (void)state;
    struct bytes number = bytes_of("\x82\x01\xa1x\xa3key\xa1x", 10);
    struct wire_get get;

    assert_int_equal(wire_get_decode(&number, &get), ERR_MALFORMED);
}

static void keys_in_any_order_are_found(void **state)
{
    (void)state;
    struct bytes turned = bytes_of("\x83\xa5value\xa1v\xa3key\xa1k\xa7session\x05", 24);
    struct wire_put put;

    assert_int_equal(wire_put_decode(&turned, &put), ERR_OK);
    assert_int_equal(put.session, 5);
    assert_true(bytes_equal(put.key, bytes_of_text("k")));
    assert_true(bytes_equal(put.value, bytes_of_text("v")));
}

static void unknown_keys_are_skipped_with_all_that_is_in_them(void **state)
{
    struct fixture *fixture = *state;

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        for (size_t s = 0; s < COUNT_OF(sorts); s++) {
            assert_int_equal(decode_with(fixture, message_at(id), "future", sorts[s].value),
                             ERR_OK);
        }
        struct bytes nested = bytes_of("\x93\x82\xa1k\x91\x81\x01\x02\xa1l\xc4\1x\xc0\xd4\1e", 17);
        assert_int_equal(decode_with(fixture, message_at(id), "future", nested), ERR_OK);
    }
}

static void text_that_is_not_utf8_is_malformed_and_bytes_may_be_anything(void **state)
{
    struct fixture *fixture = *state;
    struct bytes wild = bytes_of("\xa2\xc3\x28", 3);

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        for (uint32_t i = 0; i < message_at(id)->field_count; i++) {
            const struct wire_field *field = &message_at(id)->fields[i];
            if (field->type == WIRE_TYPE_TEXT || field->type == WIRE_TYPE_BYTES) {
                assert_int_equal(decode_with(fixture, message_at(id), field->key, wild),
                                 field->type == WIRE_TYPE_TEXT ? ERR_MALFORMED : ERR_OK);
            }
        }
    }
}

static void an_announced_size_beyond_the_frame_is_refused_before_it_comes(void **state)
{
    struct fixture *fixture = *state;
    static const struct bytes heads[] = {
        {(const uint8_t *)"\xdf\xff\xff\xff\xff", 5},
        {(const uint8_t *)"\x81\xdb\xff\xff\xff\xff", 6},
        {(const uint8_t *)"\x81\xdb\0\x10\0\0", 6},
        {(const uint8_t *)"\x81\xa1x\xc6\xff\xff\xff\xff", 8},
        {(const uint8_t *)"\x81\xa1x\xc9\x7f\xff\xff\xff", 8},
        {(const uint8_t *)"\x81\xa1x\xdd\xff\xff\xff\xff", 8},
        {(const uint8_t *)"\x81\xa1x\xdf\xff\xff\xff\xff", 8},
        {(const uint8_t *)"\x81\xa1x\xde\xff\xff", 6},
    };

    for (uint32_t id = 0; id < WIRE_MESSAGE_COUNT; id++) {
        for (size_t i = 0; i < COUNT_OF(heads); i++) {
            union sample sample;
            struct bytes head = edge_place(&fixture->edge, heads[i]);
            assert_int_equal(decode(message_at(id), head, &sample), ERR_TOO_LARGE);
        }
    }
}

static void nesting_is_taken_to_the_limit_and_no_deeper(void **state)
{
    struct fixture *fixture = *state;
    const struct wire_message *get = wire_message_of(WIRE_MESSAGE_get);
    uint8_t deep[WIRE_DEPTH_MAX + 1];
    memset(deep, 0x91, sizeof(deep)); /* Each an array of one. */

    deep[WIRE_DEPTH_MAX - 1] = 0x07; /* The map itself is the first level. */
    assert_int_equal(decode_with(fixture, get, "x", bytes_of(deep, WIRE_DEPTH_MAX)), ERR_OK);

    /* Built by hand: the helper cannot read what is too deep either. */
    uint8_t bomb[4096] = {0x81, 0xa1, 'x'};
    memset(bomb + 3, 0x91, sizeof(bomb) - 3);
    struct bytes rest = bytes_of(bomb, 3 + WIRE_DEPTH_MAX);
    union sample sample;
    assert_int_equal(decode(get, rest, &sample), ERR_MALFORMED);
    assert_int_equal(decode(get, bytes_of(bomb, sizeof(bomb)), &sample), ERR_MALFORMED);
}

static void a_message_of_too_many_tokens_is_too_large(void **state)
{
    struct fixture *fixture = *state;
    struct buffer buffer = buffer_of(fixture->encoded, sizeof(fixture->encoded));
    struct wire_get get;
    bool fits = wire_pack_map(&buffer, 30000);

    for (uint32_t i = 0; i < 30000; i++) {
        fits = fits && wire_pack_text(&buffer, bytes_of_text("x")) && wire_pack_array(&buffer, 2) &&
               wire_pack_nil(&buffer) && wire_pack_nil(&buffer);
    }
    assert_true(fits);
    struct bytes rest = buffer_bytes(&buffer);

    assert_true(rest.size < WIRE_FRAME_SIZE_MAX);
    assert_int_equal(wire_get_decode(&rest, &get), ERR_TOO_LARGE);
}

static void encode_beyond_a_limit(void)
{
    uint8_t memory[1024] = {0};
    struct buffer buffer = buffer_of(memory, sizeof(memory));
    struct wire_get get = {.key = bytes_of(memory, 481)};

    (void)!wire_get_encode(&get, &buffer);
}

static void a_value_beyond_its_limit_is_a_bug_of_the_sender(void **state)
{
    (void)state;

    assert_true(dies(encode_beyond_a_limit, "field->limit"));
}

static void every_method_and_notice_has_its_params(void **state)
{
    (void)state;

    assert_null(wire_message_of_method(WIRE_METHOD_NONE));
    assert_string_equal(wire_message_of_method(WIRE_METHOD_delete)->name, "delete");
    assert_string_equal(wire_message_of_method(WIRE_NOTICE_granted)->name, "granted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_survives_a_round_trip),
        cmocka_unit_test(every_item_of_a_list_can_be_decoded_on_its_own),
        cmocka_unit_test(every_truncation_is_incomplete),
        cmocka_unit_test(every_damaged_byte_is_survived),
        cmocka_unit_test(encoding_writes_all_or_nothing),
        cmocka_unit_test(messages_back_to_back_are_taken_one_by_one),
        cmocka_unit_test(a_field_at_its_limit_is_taken_and_one_beyond_is_too_large),
        cmocka_unit_test(a_number_beyond_32_bits_is_too_large_for_u32_alone),
        cmocka_unit_test(a_missing_field_is_malformed_exactly_when_it_is_required),
        cmocka_unit_test(an_empty_field_is_malformed_exactly_when_it_must_be_filled),
        cmocka_unit_test(an_absent_optional_field_means_zero_and_is_not_written),
        cmocka_unit_test(a_value_of_another_type_is_malformed),
        cmocka_unit_test(a_number_is_taken_in_every_width),
        cmocka_unit_test(a_key_that_comes_twice_is_malformed),
        cmocka_unit_test(a_key_that_is_not_text_is_malformed),
        cmocka_unit_test(keys_in_any_order_are_found),
        cmocka_unit_test(unknown_keys_are_skipped_with_all_that_is_in_them),
        cmocka_unit_test(text_that_is_not_utf8_is_malformed_and_bytes_may_be_anything),
        cmocka_unit_test(an_announced_size_beyond_the_frame_is_refused_before_it_comes),
        cmocka_unit_test(nesting_is_taken_to_the_limit_and_no_deeper),
        cmocka_unit_test(a_message_of_too_many_tokens_is_too_large),
        cmocka_unit_test(a_value_beyond_its_limit_is_a_bug_of_the_sender),
        cmocka_unit_test(every_method_and_notice_has_its_params),
    };
    return cmocka_run_group_tests_name("wire/codec", tests, open_fixture, close_fixture);
}
