/* Tests of node/member.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/member.h"

static struct member sample(void)
{
    struct member member = {0};
    bool is_valid = member_set(&member, 77, bytes_of_text("n2"), bytes_of_text("host:7202"),
                               bytes_of_text("host:7102"));

    assert_true(is_valid);
    return member;
}

static void a_member_survives_encoding(void **state)
{
    struct member before = sample();
    struct member after = {0};
    uint8_t bytes[RAFT_CONTEXT_SIZE_MAX];

    uint32_t size = member_encode(bytes, &before);

    assert_true(member_decode(bytes_of(bytes, size), &after));
    assert_int_equal(after.incarnation, before.incarnation);
    assert_string_equal(after.name, before.name);
    assert_string_equal(after.peer, before.peer);
    assert_string_equal(after.client, before.client);
    (void)state;
}

static void the_largest_member_fits_into_what_raft_keeps(void **state)
{
    char text[NODE_ADDRESS_SIZE_MAX + 1];
    struct member member;
    struct member after;
    uint8_t bytes[RAFT_CONTEXT_SIZE_MAX];
    struct bytes address = bytes_of(text, NODE_ADDRESS_SIZE_MAX);
    memset(text, 'a', sizeof(text));

    assert_true(
        member_set(&member, UINT64_MAX, bytes_of(text, NODE_NAME_SIZE_MAX), address, address));
    assert_int_equal(member_encode(bytes, &member), MEMBER_SIZE_MAX);
    assert_true(member_decode(bytes_of(bytes, MEMBER_SIZE_MAX), &after));
    assert_false(member_set(&member, 1, bytes_of(text, NODE_NAME_SIZE_MAX + 1), address, address));
    assert_false(member_set(&member, 1, bytes_of(text, 3),
                            bytes_of(text, NODE_ADDRESS_SIZE_MAX + 1), address));
    (void)state;
}

static void bytes_that_are_not_whole_are_refused(void **state)
{
    struct member member = sample();
    struct member after;
    uint8_t bytes[RAFT_CONTEXT_SIZE_MAX + 1] = {0};
    uint32_t size = member_encode(bytes, &member);

    for (uint32_t i = 0; i < size; i++) {
        assert_false(member_decode(bytes_of(bytes, i), &after));
    }
    assert_false(member_decode(bytes_of(bytes, size + 1), &after));
    bytes[0]++;
    assert_false(member_decode(bytes_of(bytes, size), &after)); /* Another version. */
    bytes[0]--;
    memset(bytes + 8, 0, 8);
    assert_false(member_decode(bytes_of(bytes, size), &after)); /* No incarnation. */
    (void)state;
}

static void names_fit_into_lists(void **state)
{
    static const char *const good[] = {"n1", "a", "node-7", "caf\xc3\xa9"};
    static const char *const bad[] = {"",    "a,b",  "a=b",
                                      "a b", "a\tb", "name-that-is-longer-than-32-bytes"};

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(member_name_is_valid(bytes_of_text(good[i])));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(member_name_is_valid(bytes_of_text(bad[i])));
    }
    assert_false(member_name_is_valid(bytes_of("a\0b", 3)));
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_survives_encoding),
        cmocka_unit_test(the_largest_member_fits_into_what_raft_keeps),
        cmocka_unit_test(bytes_that_are_not_whole_are_refused),
        cmocka_unit_test(names_fit_into_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
