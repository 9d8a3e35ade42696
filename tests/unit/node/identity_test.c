/* Tests of node/identity.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "node/identity.h"
#include "tests/support/log/memory_disk.h"

static struct identity formed_identity(void)
{
    struct identity identity = {
        .incarnation = 77, .name = "n2", .formed = true, .self = 2, .member_count = 2};

    memset(identity.cluster, 0xAB, sizeof(identity.cluster));
    identity.members[0] = (struct identity_member){
        1, {.name = "n1", .incarnation = 11, .peer = "host:1", .client = "host:2"}};
    identity.members[1] = (struct identity_member){
        2, {.name = "n2", .incarnation = 77, .peer = "host:3", .client = "host:4"}};
    return identity;
}

static void identity_survives_encoding(void **state)
{
    struct identity before = formed_identity();
    struct identity after;
    uint8_t bytes[IDENTITY_SIZE];

    identity_encode(bytes, &before);
    enum error error = identity_decode(bytes_of(bytes, sizeof(bytes)), &after);

    assert_int_equal(error, ERR_OK);
    assert_memory_equal(&before, &after, sizeof(before));
    (void)state;
}

static void every_flipped_bit_is_noticed(void **state)
{
    struct identity identity = formed_identity();
    struct identity after;
    uint8_t bytes[IDENTITY_SIZE];
    identity_encode(bytes, &identity);

    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        assert_int_equal(identity_decode(bytes_of(bytes, sizeof(bytes)), &after), ERR_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    assert_int_equal(identity_decode(bytes_of(bytes, sizeof(bytes) - 1), &after), ERR_CORRUPT);
    (void)state;
}

static void a_formed_identity_lists_itself(void **state)
{
    struct identity identity = formed_identity();
    struct identity after;
    uint8_t bytes[IDENTITY_SIZE];
    identity.members[1].member.incarnation = 78;

    identity_encode(bytes, &identity);

    assert_int_equal(identity_decode(bytes_of(bytes, sizeof(bytes)), &after), ERR_CORRUPT);
    (void)state;
}

static enum error decoded(const struct identity *identity)
{
    struct identity after;
    uint8_t bytes[IDENTITY_SIZE];

    identity_encode(bytes, identity);
    return identity_decode(bytes_of(bytes, sizeof(bytes)), &after);
}

static void one_that_joined_later_has_its_incarnation_as_its_id(void **state)
{
    struct identity identity = formed_identity();
    memcpy(identity.name, "n4", 3);
    identity.joined_index = 9;
    assert_int_equal(decoded(&identity), ERR_CORRUPT);

    identity.self = identity.incarnation;

    assert_int_equal(decoded(&identity), ERR_OK);
    (void)state;
}

static void a_member_that_is_listed_twice_is_refused(void **state)
{
    struct identity identity = formed_identity();
    identity.members[0].id = 2;
    assert_int_equal(decoded(&identity), ERR_CORRUPT);

    identity = formed_identity();
    memcpy(identity.members[0].member.name, "n2", 3);

    assert_int_equal(decoded(&identity), ERR_CORRUPT);
    (void)state;
}

static void an_empty_disk_has_no_identity(void **state)
{
    struct disk *disk = memory_disk_open();
    struct identity identity;

    enum error error = identity_load(disk, &identity);

    assert_int_equal(error, ERR_MISSING);
    memory_disk_close(disk);
    (void)state;
}

static void what_was_saved_is_loaded(void **state)
{
    struct disk *disk = memory_disk_open();
    struct identity before = formed_identity();
    struct identity after;

    assert_int_equal(identity_save(disk, &before), ERR_OK);
    assert_int_equal(identity_load(disk, &after), ERR_OK);

    assert_memory_equal(&before, &after, sizeof(before));
    memory_disk_close(disk);
    (void)state;
}

static void members_are_found_by_name(void **state)
{
    struct identity identity = formed_identity();

    assert_ptr_equal(identity_find(&identity, bytes_of_text("n1")), &identity.members[0]);
    assert_null(identity_find(&identity, bytes_of_text("n3")));
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identity_survives_encoding),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(a_formed_identity_lists_itself),
        cmocka_unit_test(one_that_joined_later_has_its_incarnation_as_its_id),
        cmocka_unit_test(a_member_that_is_listed_twice_is_refused),
        cmocka_unit_test(an_empty_disk_has_no_identity),
        cmocka_unit_test(what_was_saved_is_loaded),
        cmocka_unit_test(members_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
